//! One question to one server: who is it, and is this the password.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::connector::Connector;
use super::old_password::{DomainAccount, Verified};
use super::server::Server;
use super::state::{self, LiveState};
use super::{absent, verdict};
use crate::identity::{
    Answer, CredentialSource, DistinguishedName, PlainPassword, Refusal, SourceAnchor, Unavailable, UnavailableCause,
    Verdict, Wire,
};
use crate::ldap::pool::{Place, Pooled};
use crate::ldap::{LdapError, Scope, Search};
use crate::signin::{LateVerdict, LiveAnswer, LiveSubject};

/// How long a bind that was given up is still read.
const LATE_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

/// Whom the server knows the subject as.
#[derive(Clone, Debug)]
pub enum Target {
    Account {
        source: CredentialSource,
        dn: DistinguishedName,
        state: LiveState,
    },
    /// Nobody: the bind is made all the same, of a name that no entry has, so that it takes as long and looks alike.
    Nobody {
        dn: DistinguishedName,
        refusal: Refusal,
    },
}

/// Somebody waits for a bind. When they stop before its answer, also because the caller went away, the bind's place in
/// the pool goes to others.
struct Waiting {
    /// `None` once answered or given up.
    place: Option<Place>,
    task: AbortHandle,
}

impl Waiting {
    /// Nothing is left to read.
    fn is_answered(&mut self) -> bool {
        self.place = None;
        false
    }

    /// Whether the bind is still read to its end; it is dropped when too many are.
    fn give_up(&mut self) -> bool {
        let still_read = self.place.take().is_some_and(|place| place.leave());
        if !still_read {
            self.task.abort();
        }
        still_read
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.place.is_some() {
            self.give_up();
        }
    }
}

impl Target {
    fn dn(&self) -> &DistinguishedName {
        match self {
            Self::Account { dn, .. } | Self::Nobody { dn, .. } => dn,
        }
    }
}

impl Connector {
    /// Asks `server`, to be answered by `end`. An error means that no password was sent: another server may be asked.
    pub async fn ask(
        self: &Arc<Self>,
        server: &Server,
        subject: &LiveSubject,
        password: &PlainPassword,
        end: Instant,
    ) -> Result<LiveAnswer, LdapError> {
        let target = self.find(server, subject, end).await?;
        let connection = server.binds.take(self.step(end)).await?;
        server.answered();
        Ok(self.bind(connection, target, password, end).await)
    }

    /// The subject's entry on `server`, by its anchor.
    async fn find(&self, server: &Server, subject: &LiveSubject, end: Instant) -> Result<Target, LdapError> {
        let nobody = |refusal| Target::Nobody { dn: absent::name(&self.settings.bases[0]), refusal };
        match subject {
            LiveSubject::Known(source) => match self.read(server, &source.anchor, end).await? {
                Some((dn, state)) => Ok(Target::Account { source: source.clone(), dn, state }),
                None => Ok(nobody(Refusal::NotInDirectory)),
            },
            LiveSubject::Unknown => {
                self.read(server, &absent::anchor(&self.settings.anchor), end).await?;
                Ok(nobody(Refusal::UnknownUser))
            }
        }
    }

    async fn read(
        &self,
        server: &Server,
        anchor: &SourceAnchor,
        end: Instant,
    ) -> Result<Option<(DistinguishedName, LiveState)>, LdapError> {
        let kept = server.searches.take(self.step(end)).await?;
        match self.read_on(kept, anchor, end).await {
            // A kept connection may have been dead for long; a search may be repeated.
            Err(LdapError::ConnectionLost { .. } | LdapError::Closed { .. }) => {
                let new = server.searches.take_new(self.step(end)).await?;
                self.read_on(new, anchor, end).await
            }
            read => read,
        }
    }

    async fn read_on(
        &self,
        mut connection: Pooled,
        anchor: &SourceAnchor,
        end: Instant,
    ) -> Result<Option<(DistinguishedName, LiveState)>, LdapError> {
        let settings = &self.settings;
        let Some(filter) = settings.anchor.filter(anchor) else { return Ok(None) };
        let attributes = state::attributes(settings.dialect, &settings.disabled);
        let mut found = Vec::new();
        for base in &settings.bases {
            connection.set_deadline(self.step(end));
            let search = Search {
                base: base.clone(),
                scope: Scope::Subtree,
                filter: filter.clone(),
                attributes: attributes.clone(),
            };
            found.append(&mut connection.search(search).await?);
        }
        // Bases may overlap.
        found.dedup_by(|a, b| a.dn == b.dn);
        match &found[..] {
            [entry] => {
                let state = LiveState::read(entry, settings.dialect, &settings.disabled, settings.lockout_duration);
                Ok(Some((entry.dn.clone(), state)))
            }
            [] => Ok(None),
            several => {
                // Whose password would it be? Nobody is admitted on a guess.
                tracing::error!(connector = %settings.connector, entries = several.len(), "an anchor is not unique");
                Ok(None)
            }
        }
    }

    /// Sends the one bind of this check, and waits for its answer until `end`. From here on there is no other server.
    async fn bind(
        self: &Arc<Self>,
        mut connection: Pooled,
        target: Target,
        password: &PlainPassword,
        end: Instant,
    ) -> LiveAnswer {
        let (server, host) = (connection.server().to_string(), connection.server().host().to_owned());
        let (state, sent) = match &target {
            Target::Account { state, .. } => (Some(state.clone()), password.clone()),
            Target::Nobody { .. } => (None, absent::password(Some(password))),
        };
        let password_set = state.as_ref().and_then(|state| state.password_set);
        let definite = match &target {
            Target::Account { state, .. } => state.refusal(self.clock.now()),
            Target::Nobody { refusal: Refusal::NotInDirectory, .. } => Some(Refusal::NotInDirectory),
            Target::Nobody { .. } => None,
        };
        let place = connection.place();
        let (answered, mut answer) = oneshot::channel();
        let (late_sender, late) = oneshot::channel();
        let task = tokio::spawn({
            let (connector, typed, server) = (Arc::clone(self), password.clone(), server.clone());
            async move {
                connection.set_deadline(LATE_LIMIT);
                let bind = connection.simple_bind(target.dn(), &sent).await;
                drop(connection);
                let judged = connector.judge(&target, bind, &typed, host).await;
                if let Err(Ok(verdict)) = answered.send(judged) {
                    // Nobody waits any more; whoever wants the late verdict holds the other end, or nobody does.
                    if late_sender.send(LateVerdict { verdict, server }).is_err() {
                        tracing::debug!("a late verdict was not awaited");
                    }
                }
            }
        });
        let mut waiting = Waiting { place: Some(place), task: task.abort_handle() };
        let in_time = match tokio::time::timeout_at(end, &mut answer).await {
            Ok(Ok(judged)) => Some(judged),
            // The task ended without an answer: a panic. The bind may have left.
            Ok(Err(_)) => Some(Err(UnavailableCause::ConnectionLost)),
            Err(_) => {
                answer.close();
                answer.try_recv().ok()
            }
        };
        let still_read = match in_time {
            Some(_) => waiting.is_answered(),
            None => waiting.give_up(),
        };
        if in_time.is_none() && !still_read {
            tracing::warn!(%server, "too many binds hang: one of them is dropped, and whatever the server says to it is lost");
        }
        let unavailable =
            |cause| Answer::Unavailable(Unavailable { cause, wire: Wire::MaybeSent, server: Some(server.clone()) });
        let (answer, late) = match (in_time, definite) {
            (Some(Ok(verdict)), _) => (Answer::Verdict(verdict), None),
            (_, Some(refusal)) => (Answer::Verdict(Verdict::Refused(refusal)), None),
            (Some(Err(cause)), None) => (unavailable(cause), None),
            (None, None) => (unavailable(UnavailableCause::Deadline), still_read.then_some(late)),
        };
        LiveAnswer { answer, server: Some(server), password_set, late }
    }

    /// The verdict on `target` after its bind, or why there is none.
    async fn judge(
        &self,
        target: &Target,
        bind: Result<crate::ldap::BindAnswer, LdapError>,
        typed: &PlainPassword,
        controller: String,
    ) -> Result<Verdict, UnavailableCause> {
        if let Err(error) = &bind {
            tracing::warn!(connector = %self.settings.connector, error = %error, "a bind got no answer");
        }
        let bind = bind
            .map_err(|error| error.cause())
            .and_then(|answer| verdict::of_bind(self.settings.dialect, &answer).inspect(|verdict| {
                if let Verdict::Refused(Refusal::RefusedUnknown(code)) = verdict {
                    tracing::error!(connector = %self.settings.connector, code, diagnostic = answer.diagnostic, "a bind was refused in a way that is not known");
                }
            }));
        match target {
            Target::Nobody { refusal, .. } => bind.map(|_| Verdict::Refused(*refusal)),
            Target::Account { source, dn, state } => {
                match (verdict::of_account(state, bind, self.clock.now())?, &self.old_passwords) {
                    (Verdict::Verified, Some(rule)) => {
                        let realm = dn.domain_components();
                        let account = state.account_name.clone().map(|name| DomainAccount { controller, realm, name });
                        let password_set = state.password_set;
                        rule.judge(&Verified { source, password_set, account: account.as_ref() }, typed).await
                    }
                    (verdict, _) => Ok(verdict),
                }
            }
        }
    }
}
