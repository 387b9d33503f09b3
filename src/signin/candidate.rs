//! Who may be meant by a typed name, and who would check their password.

use super::directory::{Realm, UserForSignIn};
use super::lockout::Subject;
use super::realm::Managed;
use super::service::SignIn;
use super::store::StoreDown;
use super::transaction::State;
use crate::identity::{ConnectorName, CredentialSource, SignInName};

/// The name of a transaction, looked up. A name that nobody has becomes a candidate like any other.
pub(super) struct Candidate {
    pub name: SignInName,
    pub user: Option<UserForSignIn>,
    pub realm: Realm,
    pub method: Managed,
    /// Where the password is checked; `None` unless the connector is registered for the user's domain (design D9).
    pub source: Option<CredentialSource>,
    /// Whom a live check asks: the source's connector, or one drawn by the name.
    pub connector: Option<ConnectorName>,
    pub subject: Subject,
}

impl SignIn {
    /// The candidate of a transaction that awaits a password; `None` if it awaits something else.
    pub(super) async fn candidate(&self, state: &State) -> Result<Option<Candidate>, StoreDown> {
        let State::Password { name, domain, method, ours, .. } = state else { return Ok(None) };
        let Ok(name) = name.parse::<SignInName>() else { return Ok(None) };
        let directory = &self.room.directory;
        let realm = match directory.realm(domain).await? {
            Some(realm) => realm,
            None => directory.initial_realm().await?,
        };
        // The transaction rests on the user's own domain. Who has another one since then begins anew.
        let user = directory.user(&name).await?.filter(|user| *ours && user.upn.domain() == domain);
        let method = *method;
        let source = user.as_ref().and_then(|user| user.source.clone());
        let connector = match &source {
            Some(source) => Some(source.connector.clone()),
            None => self.drawn_connector(&name, &realm),
        };
        let subject = match &user {
            Some(user) => Subject::user(user.oid),
            None => Subject::unknown(&name, &self.room.key),
        };
        Ok(Some(Candidate { name, user, realm, method, source, connector, subject }))
    }

    /// An unknown name asks the same connector each time, as a known one would.
    fn drawn_connector(&self, name: &SignInName, realm: &Realm) -> Option<ConnectorName> {
        let mac = self.room.key.mac("connector", &[name.folded().as_bytes()]);
        let draw = usize::from_str_radix(mac.get(..8)?, 16).ok()?;
        realm.connectors.get(draw.checked_rem(realm.connectors.len())?).cloned()
    }
}
