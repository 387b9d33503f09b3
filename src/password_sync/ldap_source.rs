//! A directory read over LDAP for the password channel.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::account_state::{PasswordPolicy, STATE_ATTRIBUTES, account_state};
use super::password_policy::{POLICY_ATTRIBUTES, password_policy};
use super::source::{
    AccountSource, Leak, Looked, PasswordTime, PasswordValues, Passwords, SourceAccount, SourceError, SourcePage,
    SourcePosition, SourceVersion,
};
use super::write_stamp::StateStamps;
use crate::config::{ConnectorSettings, Dialect, DisabledTest};
use crate::identity::{Clock, DistinguishedName, SourceAnchor, Timestamp};
use crate::ldap::{
    Connection, Entry, Filter, FilterError, LdapError, Scope, Search, ServerUrl, ServerUrlError, ServiceAccount, Trust,
    TrustError,
};

/// The accounts of one connector.
pub struct LdapSource {
    servers: Vec<ServerUrl>,
    trust: Trust,
    account: ServiceAccount,
    settings: ConnectorSettings,
    user_filter: Filter,
    attributes: Vec<String>,
    /// The policy of entries that name none, or one that cannot be read.
    default_policy: Option<DistinguishedName>,
    clock: Arc<dyn Clock>,
}

/// Why settings make no source.
#[derive(Debug, thiserror::Error)]
pub enum LdapSourceError {
    #[error("a server of the connector cannot be used")]
    Server(#[from] ServerUrlError),
    #[error("the connector's certification authorities cannot be used")]
    Trust(#[from] TrustError),
    #[error("the connector's user filter cannot be used")]
    Filter(#[from] FilterError),
}

/// How long a server may take for one page, or for one lookup.
const READ_DEADLINE: Duration = Duration::from_secs(30);
/// Versions of an entry, the best first.
const VERSION_ATTRIBUTES: [&str; 3] = ["entryCSN", "modifyTimestamp", "whenChanged"];
const POLICY_SUBENTRY: &str = "pwdPolicySubentry";
const RESULTANT_PSO: &str = "msDS-ResultantPSO";
/// Which write each attribute comes from: asked for where controllers may differ.
const REPL_METADATA: &str = "replPropertyMetaData";
/// The policy of 389 Directory Server that holds where an entry names no other.
const DS389_CONFIG: &str = "cn=config";

impl LdapSource {
    pub fn new(settings: &ConnectorSettings, clock: Arc<dyn Clock>) -> Result<Self, LdapSourceError> {
        let servers = settings.servers.iter().map(|server| server.parse()).collect::<Result<Vec<ServerUrl>, _>>()?;
        let trust = Trust::new(settings.ca_file.as_slice())?;
        let class = Filter::equal("objectClass", &settings.scope.classes.user);
        let user_filter = match &settings.scope.user_filter {
            Some(filter) => Filter::and([class, Filter::parse(filter)?]),
            None => class,
        };
        let account = ServiceAccount { dn: settings.bind_dn.clone(), password: settings.bind_password.clone() };
        let mut attributes: Vec<String> = vec![settings.scope.anchor_attribute.clone()];
        attributes.extend(settings.passwords.attributes.iter().cloned());
        attributes.extend(STATE_ATTRIBUTES.into_iter().chain(VERSION_ATTRIBUTES).map(str::to_owned));
        let (DisabledTest::Equals { attribute, .. } | DisabledTest::BitSet { attribute, .. }) =
            &settings.scope.disabled;
        attributes.push(attribute.clone());
        if settings.scope.dialect == Dialect::ActiveDirectory {
            attributes.push(RESULTANT_PSO.to_owned());
            if servers.len() > 1 {
                attributes.push(REPL_METADATA.to_owned());
            }
        }
        attributes.sort_by_key(|name| name.to_ascii_lowercase());
        attributes.dedup_by_key(|name| name.to_ascii_lowercase());
        let default_policy = settings.password_policy.clone().or_else(|| match settings.scope.dialect {
            Dialect::ActiveDirectory => settings.scope.bases.first().and_then(domain_of),
            Dialect::Ds389 => DS389_CONFIG.parse().ok(),
            Dialect::Openldap => None,
        });
        let settings = settings.clone();
        Ok(Self { servers, trust, account, settings, user_filter, attributes, default_policy, clock })
    }

    /// Whether a server admits the account.
    pub(super) async fn admits(&self) -> Result<(), SourceError> {
        self.connect().await.map(drop)
    }

    /// A connection to the first server that takes one.
    async fn connect(&self) -> Result<Connection, SourceError> {
        let mut last = None;
        for server in &self.servers {
            match self.connect_to(server).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    tracing::warn!(connector = %self.settings.name, server = %server, error = %error, "a server cannot be read");
                    let is_final = error.refuses_account();
                    last = Some(error);
                    if is_final {
                        break;
                    }
                }
            }
        }
        Err(last.map_or(SourceError::GivenUp, directory))
    }

    async fn connect_to(&self, server: &ServerUrl) -> Result<Connection, LdapError> {
        let mut connection = Connection::open(server, &self.trust, self.settings.connect_deadline).await?;
        connection.bind(&self.account).await?;
        connection.set_deadline(READ_DEADLINE);
        Ok(connection)
    }

    async fn send_all(&self, connection: &mut Connection, pages: &mpsc::Sender<SourcePage>) -> Result<(), SourceError> {
        let mut policies = Policies::default();
        for base in &self.settings.scope.bases {
            let search = Search {
                base: base.clone(),
                scope: Scope::Subtree,
                filter: self.user_filter.clone(),
                attributes: self.attributes.clone(),
            };
            let server = connection.server().clone();
            let mut paged = connection.search_paged(search, self.settings.scope.page_size);
            loop {
                let read_at = self.clock.now();
                let Some(page) = paged.next_page().await.map_err(directory)? else { break };
                for name in &page.unreadable {
                    tracing::warn!(connector = %self.settings.name, name, "an entry's name cannot be read; it is left out");
                }
                // Policy entries are few; a connection does one operation at a time, so they have one of their own.
                let entries = self.admitted(page.entries);
                let entries: Vec<Entry> = entries.into_iter().filter(|entry| !self.is_excluded(entry)).collect();
                policies.learn(self, &server, &entries).await.map_err(directory)?;
                let accounts = self.accounts(entries, &policies);
                let page = self.page(&server, read_at, accounts);
                pages.send(page).await.map_err(|_| SourceError::GivenUp)?;
            }
        }
        Ok(())
    }

    /// INVARIANT: of what lies beyond the bounds nothing is told, whichever base, filter or anchor found it.
    fn admitted(&self, mut entries: Vec<Entry>) -> Vec<Entry> {
        entries.retain(|entry| self.settings.bounds.admit(&entry.dn));
        entries
    }

    fn is_excluded(&self, entry: &Entry) -> bool {
        self.settings.scope.excluded.iter().any(|excluded| entry.dn.is_within(excluded))
    }

    fn page(&self, server: &ServerUrl, read_at: Timestamp, accounts: Vec<SourceAccount>) -> SourcePage {
        let sole_server = self.servers.len() == 1;
        let looked = Looked::No;
        SourcePage { server: server.to_string(), sole_server, restored: false, read_at, looked, accounts }
    }

    fn accounts(&self, entries: Vec<Entry>, policies: &Policies) -> Vec<SourceAccount> {
        let accounts = entries.into_iter().map(|entry| self.account_of(entry, policies));
        accounts.flatten().collect()
    }

    fn account_of(&self, mut entry: Entry, policies: &Policies) -> Option<SourceAccount> {
        let Some(anchor) = self.anchor_of(&entry) else {
            tracing::warn!(connector = %self.settings.name, entry = entry.dn.as_str(), "an entry has no usable anchor; it is left out");
            return None;
        };
        let version =
            VERSION_ATTRIBUTES.iter().find_map(|name| entry.text(&name.to_ascii_lowercase())).unwrap_or_default();
        let version = SourceVersion::new(version.to_owned());
        let stamps = entry.bytes(&REPL_METADATA.to_ascii_lowercase()).and_then(StateStamps::read);
        let version = stamps.map_or(version.clone(), |stamps| version.with_stamps(&stamps));
        let policy = policies.of(self, &entry);
        let state = account_state(&entry, &self.settings.scope.disabled, &policy);
        let passwords = self.settings.passwords.attributes.iter().filter_map(|attribute| {
            let values = entry.attributes.remove(&attribute.to_ascii_lowercase())?;
            let values: Vec<_> = values.into_iter().map(Zeroizing::new).collect();
            (!values.is_empty()).then(|| PasswordValues { attribute: attribute.clone(), values })
        });
        let passwords = Passwords::Read(passwords.collect());
        let (password_time, leak) = (PasswordTime::OfState, Leak::NotLookedFor);
        Some(SourceAccount { anchor, version, state, passwords, written: None, password_time, leak })
    }

    fn anchor_of(&self, entry: &Entry) -> Option<SourceAnchor> {
        let bytes = entry.bytes(&self.settings.scope.anchor_attribute.to_ascii_lowercase())?;
        if self.has_binary_anchor() {
            return SourceAnchor::from_binary(bytes).ok();
        }
        SourceAnchor::from_text(std::str::from_utf8(bytes).ok()?).ok()
    }

    /// The policies that an entry may be under: the one that it names, and the default.
    fn policies_of<'a>(&'a self, entry: &Entry) -> impl Iterator<Item = DistinguishedName> + use<'a> {
        let named = [POLICY_SUBENTRY, RESULTANT_PSO].iter().find_map(|name| entry.text(&name.to_ascii_lowercase()));
        named.and_then(|name| name.parse().ok()).into_iter().chain(self.default_policy.clone())
    }

    fn has_binary_anchor(&self) -> bool {
        self.settings.scope.dialect == Dialect::ActiveDirectory
            && self.settings.scope.anchor_attribute.eq_ignore_ascii_case("objectGUID")
    }

    fn filter_of(&self, anchor: &SourceAnchor) -> Option<Filter> {
        use base64::Engine as _;
        let attribute = &self.settings.scope.anchor_attribute;
        if self.has_binary_anchor() {
            let bytes = base64::engine::general_purpose::STANDARD.decode(anchor.as_str()).ok()?;
            return Some(Filter::equal(attribute, bytes));
        }
        Some(Filter::equal(attribute, anchor.as_str()))
    }

    /// The naming contexts that hold the connector's bases: an account that has left its scope is not gone.
    async fn contexts(&self, connection: &mut Connection) -> Result<Vec<DistinguishedName>, LdapError> {
        let root: DistinguishedName = "".parse().expect("the empty name is the root");
        let root_dse = connection.read(&root, vec!["namingContexts".to_owned()]).await?;
        let contexts: Vec<DistinguishedName> = root_dse
            .iter()
            .flat_map(|entry| entry.texts("namingcontexts"))
            .filter_map(|name| name.parse().ok())
            .filter(|context| self.settings.scope.bases.iter().any(|base| base.is_within(context)))
            .collect();
        Ok(if contexts.is_empty() { self.settings.scope.bases.clone() } else { contexts })
    }
}

#[async_trait]
impl AccountSource for LdapSource {
    async fn read_all(
        &self,
        _since: Option<&SourcePosition>,
        pages: mpsc::Sender<SourcePage>,
    ) -> Result<Option<SourcePosition>, SourceError> {
        let mut connection = self.connect().await?;
        self.send_all(&mut connection, &pages).await?;
        Ok(None)
    }

    async fn read(&self, anchors: &[SourceAnchor]) -> Result<SourcePage, SourceError> {
        let mut connection = self.connect().await?;
        let read_at = self.clock.now();
        let mut entries = Vec::new();
        let contexts = self.contexts(&mut connection).await.map_err(directory)?;
        // A filter of many alternatives is read in one go by every server; 50 stay well below any limit of its size.
        for anchors in anchors.chunks(50) {
            let filter = Filter::or(anchors.iter().filter_map(|anchor| self.filter_of(anchor)));
            for base in &contexts {
                let search = Search {
                    base: base.clone(),
                    scope: Scope::Subtree,
                    filter: filter.clone(),
                    attributes: self.attributes.clone(),
                };
                entries.extend(connection.search(search).await.map_err(directory)?);
            }
        }
        let entries = self.admitted(entries);
        let server = connection.server().clone();
        let mut policies = Policies::default();
        policies.learn(self, &server, &entries).await.map_err(directory)?;
        let accounts = self.accounts(entries, &policies);
        Ok(self.page(&server, read_at, accounts))
    }
}

/// The password policies met in one read, by the DN of their entry.
#[derive(Default)]
struct Policies {
    known: HashMap<String, Option<Entry>>,
    connection: Option<Connection>,
}

impl Policies {
    /// Reads the policies that these entries name and that are not known yet.
    async fn learn(&mut self, source: &LdapSource, server: &ServerUrl, entries: &[Entry]) -> Result<(), LdapError> {
        for name in entries.iter().flat_map(|entry| source.policies_of(entry)) {
            let key = name.folded();
            if self.known.contains_key(&key) {
                continue;
            }
            let connection = match &mut self.connection {
                Some(connection) => connection,
                none => none.insert(source.connect_to(server).await?),
            };
            let attributes = POLICY_ATTRIBUTES.map(str::to_owned).to_vec();
            let policy = match connection.read(&name, attributes).await {
                // What an account may not see is no reason to stop.
                Err(LdapError::SearchRefused { .. }) => None,
                read => read?,
            };
            if policy.is_none() && name.as_str() != DS389_CONFIG {
                tracing::warn!(connector = %source.settings.name, policy = name.as_str(), "a password policy cannot be read");
            }
            self.known.insert(key, policy);
        }
        Ok(())
    }

    fn of(&self, source: &LdapSource, entry: &Entry) -> PasswordPolicy {
        let lockout_duration = source.settings.lockout_duration;
        let mut readable = source.policies_of(entry).filter_map(|name| self.known.get(&name.folded())?.as_ref());
        match readable.next() {
            Some(policy) => password_policy(policy, lockout_duration),
            None => PasswordPolicy { lockout_duration: Some(lockout_duration), max_age: None, lockout: None },
        }
    }
}

/// The domain of Active Directory in which a base lies: its entry holds the domain's password policy.
fn domain_of(base: &DistinguishedName) -> Option<DistinguishedName> {
    let is_part = |rdn: &&str| rdn.trim_start().get(..3).is_some_and(|kind| kind.eq_ignore_ascii_case("dc="));
    let mut parts: Vec<&str> = base.as_str().rsplit(',').take_while(is_part).collect();
    parts.reverse();
    if parts.is_empty() { None } else { parts.join(",").parse().ok() }
}

/// A directory that cannot be read, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.told())]
struct Unread(LdapError);

fn directory(error: LdapError) -> SourceError {
    SourceError::Directory(Box::new(Unread(error)))
}
