//! One server of a connector: its pools, and the memory of its failures.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::identity::Timestamp;
use crate::ldap::ServerUrl;
use crate::ldap::pool::{Pool, Purpose};

use super::settings::PassThroughSettings;

pub struct Server {
    pub url: ServerUrl,
    pub searches: Pool,
    pub binds: Pool,
    failures: Mutex<Failures>,
}

/// Failures since the last answer.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    /// Until then the server is tried after all others.
    avoid_until: Option<Timestamp>,
}

/// The first back-off; each further failure doubles it.
const FIRST_BACK_OFF: Duration = Duration::from_secs(2);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);

impl Server {
    pub fn new(url: ServerUrl, settings: &PassThroughSettings) -> Self {
        let pool = |purpose, size| Pool::new(url.clone(), settings.trust.clone(), purpose, settings.pool(size));
        Self {
            searches: pool(Purpose::Search(settings.account.clone()), settings.search_connections),
            binds: pool(Purpose::Bind, settings.bind_connections),
            url,
            failures: Mutex::default(),
        }
    }

    /// The server could not be asked. Whether that is news: it is not while the server is avoided already.
    pub fn failed(&self, now: Timestamp) -> bool {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.avoid_until.is_some_and(|until| until > now) {
            return false;
        }
        failures.count = failures.count.saturating_add(1);
        let back_off = FIRST_BACK_OFF.saturating_mul(1 << (failures.count - 1).min(10)).min(LONGEST_BACK_OFF);
        failures.avoid_until = Some(now + back_off);
        true
    }

    pub fn answered(&self) {
        *self.failures.lock().unwrap_or_else(PoisonError::into_inner) = Failures::default();
    }

    fn is_avoided(&self, now: Timestamp) -> bool {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).avoid_until.is_some_and(|until| until > now)
    }
}

/// The servers in the order of the settings, those that failed a while ago last. None is left out: a server that may
/// have failed is better than no server.
pub fn in_order(servers: &[Server], now: Timestamp) -> impl Iterator<Item = &Server> {
    let (avoided, preferred): (Vec<_>, Vec<_>) = servers.iter().partition(|server| server.is_avoided(now));
    preferred.into_iter().chain(avoided)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Dialect, DisabledTest};
    use crate::identity::PlainPassword;
    use crate::ldap::{ServiceAccount, Trust};
    use crate::pass_through::AnchorAttribute;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn servers() -> Vec<Server> {
        let urls: Vec<ServerUrl> =
            ["ldaps://a", "ldaps://b", "ldaps://c"].map(|url| url.parse().expect("an address")).into();
        let settings = PassThroughSettings {
            connector: "corp".parse().expect("a name"),
            servers: urls.clone(),
            trust: Trust::system().expect("the system has authorities"),
            account: ServiceAccount {
                dn: "cn=sync".parse().expect("a name"),
                password: PlainPassword::new("secret".to_owned()).expect("fits"),
            },
            bases: vec!["dc=example".parse().expect("a name")],
            anchor: AnchorAttribute::new("entryUUID"),
            dialect: Dialect::Openldap,
            disabled: DisabledTest::Equals { attribute: "a".to_owned(), value: "b".to_owned() },
            lockout_duration: Duration::from_secs(1800),
            connect_deadline: Duration::from_secs(1),
            bind_deadline: Duration::from_secs(2),
            probe_deadline: Duration::from_secs(1),
            search_connections: 1,
            bind_connections: 1,
            old_password_window: Duration::ZERO,
        };
        urls.into_iter().map(|url| Server::new(url, &settings)).collect()
    }

    fn order(servers: &[Server], now: Timestamp) -> String {
        in_order(servers, now).map(|server| server.url.host()).collect()
    }

    #[test]
    fn a_server_that_failed_is_asked_last_for_a_while() {
        let servers = servers();
        assert_eq!(order(&servers, NOW), "abc");
        assert!(servers[0].failed(NOW), "news");
        assert!(!servers[0].failed(NOW), "no news");
        assert_eq!(order(&servers, NOW), "bca");
        assert_eq!(order(&servers, NOW + FIRST_BACK_OFF), "abc");
        for server in &servers {
            server.failed(NOW + FIRST_BACK_OFF);
        }
        assert_eq!(order(&servers, NOW + FIRST_BACK_OFF), "abc");
    }

    #[test]
    fn the_back_off_doubles_to_a_minute_and_ends_with_an_answer() {
        let servers = servers();
        let mut now = NOW;
        for expected in [2, 4, 8, 16, 32, 60, 60] {
            servers[0].failed(now);
            servers[0].failed(now);
            let back_off = Duration::from_secs(expected);
            assert_eq!(order(&servers, now + back_off - Duration::from_millis(1)), "bca", "{expected}");
            assert_eq!(order(&servers, now + back_off), "abc", "{expected}");
            now = now + back_off;
        }
        servers[0].failed(now);
        servers[0].answered();
        assert_eq!(order(&servers, now), "abc");
    }
}
