//! Sessions: what they rest on, and whether it still holds (design D23).

use super::outcome::Session;
use crate::identity::{AccountState, AuthenticationMethod, ClientId, Refusal, Timestamp};

/// A session to be opened.
#[derive(Clone, Debug)]
pub struct NewSession {
    pub session: Session,
    /// SHA-256 (hex) of the cookie's secret.
    pub cookie_hash: String,
    /// The user's security stamp as it was read before the password was checked.
    pub security_stamp: String,
    /// When the directory says the proved password was set: a later one ends the session.
    pub password_set: Option<Timestamp>,
    pub client: ClientId,
    /// The session whose place in the browser it takes, by the hash of its cookie.
    pub replaces: Option<String>,
}

/// A session with all that may have ended it, as one query reads it.
#[derive(Clone, Debug)]
pub struct Liveness {
    pub session: Session,
    pub ended: bool,
    pub stamp_then: String,
    pub stamp_now: String,
    pub user_deleted: bool,
    pub account_enabled: bool,
    pub directory_state: Option<AccountState>,
    pub password_set: Option<Timestamp>,
    pub credential: Option<CredentialNow>,
}

/// The user's stored credential at the time of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialNow {
    pub version: i64,
    pub wiped: bool,
    pub password_set: Option<Timestamp>,
}

impl Liveness {
    /// The session, if everything it rests on still holds at `now`.
    pub fn live(self, now: Timestamp) -> Option<Session> {
        let holds = !self.ended
            && now < self.session.expires_at
            && self.stamp_then == self.stamp_now
            && !self.user_deleted
            && self.account_enabled
            && self.directory_state.as_ref().is_none_or(|state| still_allows(state, now))
            && self.password_still_stands();
        holds.then_some(self.session)
    }

    /// A password change ends what a password proved.
    fn password_still_stands(&self) -> bool {
        let newer = match (self.password_set, self.credential.and_then(|credential| credential.password_set)) {
            (Some(then), Some(now)) => now > then,
            (None, _) | (_, None) => false,
        };
        let by_stored_hash = self.session.method == AuthenticationMethod::Phs || self.session.failover;
        let replaced = match (self.session.credential_version, self.credential) {
            (Some(then), Some(now)) => now.version != then || now.wiped,
            // Proved by a hash that is no longer there.
            (Some(_), None) => true,
            (None, _) => by_stored_hash,
        };
        !newer && !replaced
    }
}

/// What ends a session that has begun: the account is gone, disabled or has ended. A lock, logon hours and the age of
/// the password concern the next sign-in; a lock that strangers can cause must not sign anybody out.
pub(super) fn still_allows(state: &AccountState, now: Timestamp) -> bool {
    let state = AccountState {
        locked_until: None,
        password_expires: None,
        must_change_password: false,
        logon_hours: None,
        ..state.clone()
    };
    match state.evaluate(now) {
        Ok(()) => true,
        Err(
            Refusal::UnknownUser
            | Refusal::WrongPassword
            | Refusal::NotInDirectory
            | Refusal::Disabled
            | Refusal::Expired
            | Refusal::LockedOut
            | Refusal::PasswordExpired
            | Refusal::MustChangePassword
            | Refusal::OutsideLogonHours
            | Refusal::WorkstationNotAllowed
            | Refusal::OldPasswordWindow
            | Refusal::NoCredential
            | Refusal::RefusedUnknown(_),
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::{AttemptId, SessionId, UserId};

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn live() -> Liveness {
        Liveness {
            session: Session {
                sid: SessionId::random(),
                oid: UserId::random(),
                domain: "example.org".parse().expect("a domain"),
                method: AuthenticationMethod::Phs,
                authority: "hash".to_owned(),
                failover: false,
                attempt: AttemptId::random(),
                amr: vec!["pwd".to_owned()],
                auth_time: NOW,
                expires_at: NOW + Duration::from_secs(10),
                credential_version: Some(3),
            },
            ended: false,
            stamp_then: "a".to_owned(),
            stamp_now: "a".to_owned(),
            user_deleted: false,
            account_enabled: true,
            directory_state: Some(AccountState::unrestricted()),
            password_set: None,
            credential: Some(CredentialNow { version: 3, wiped: false, password_set: None }),
        }
    }

    #[test]
    fn a_session_lives_while_all_it_rests_on_holds() {
        assert!(live().live(NOW).is_some());
        let with = |change: fn(&mut Liveness)| {
            let mut session = live();
            change(&mut session);
            session.live(NOW)
        };
        let ends: [fn(&mut Liveness); 11] = [
            |s| s.ended = true,
            |s| s.session.expires_at = NOW,
            |s| s.stamp_now = "b".to_owned(),
            |s| s.user_deleted = true,
            |s| s.account_enabled = false,
            |s| s.directory_state = Some(AccountState { enabled: false, ..AccountState::unrestricted() }),
            |s| s.directory_state = Some(AccountState { deleted: true, ..AccountState::unrestricted() }),
            |s| s.directory_state = Some(AccountState { account_expires: Some(NOW), ..AccountState::unrestricted() }),
            |s| s.credential = Some(CredentialNow { version: 4, wiped: false, password_set: None }),
            |s| s.credential = Some(CredentialNow { version: 3, wiped: true, password_set: None }),
            |s| s.credential = None,
        ];
        for (row, change) in ends.into_iter().enumerate() {
            assert_eq!(with(change), None, "row {row}");
        }
    }

    #[test]
    fn a_lock_or_an_old_password_concerns_the_next_sign_in() {
        let mut session = live();
        session.directory_state = Some(AccountState {
            locked_until: Some(NOW + Duration::from_secs(9)),
            password_expires: Some(NOW),
            must_change_password: true,
            ..AccountState::unrestricted()
        });
        assert!(session.live(NOW).is_some());
    }

    #[test]
    fn a_live_bind_is_outlived_by_a_later_password_alone() {
        let pta = |then, now| {
            let mut session = live();
            session.session.method = AuthenticationMethod::Pta;
            session.session.credential_version = None;
            session.password_set = then;
            session.credential = Some(CredentialNow { version: 9, wiped: false, password_set: now });
            session.live(NOW).is_some()
        };
        assert!(pta(Some(NOW), Some(NOW)) && pta(Some(NOW), None) && pta(None, Some(NOW)));
        assert!(!pta(Some(NOW - Duration::from_secs(1)), Some(NOW)));
    }

    #[test]
    fn a_backup_session_without_a_version_is_not_live() {
        let mut session = live();
        session.session.method = AuthenticationMethod::Pta;
        session.session.failover = true;
        session.session.credential_version = None;
        assert_eq!(session.live(NOW), None);
    }
}
