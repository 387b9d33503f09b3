//! Whether what a code, grant or session rests on still stands (design D23). Compared at every use, against facts
//! that the same statement read.

use crate::identity::{AccountState, Timestamp};

/// What was true when the code or grant was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub security_stamp: String,
    /// Of the password that proved it, where one did.
    pub credential_version: Option<i64>,
}

/// What is true now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    pub session: SessionPresence,
    pub user: Option<UserPresence>,
    /// Of the stored credential; `None` when there is none, or it was wiped.
    pub credential_version: Option<i64>,
    /// When the password that proved it was set, and when the stored one was, as the directory tells it.
    pub password_set: PasswordSet,
    pub directory: DirectoryPresence,
}

/// Tells a password change where no stored hash proved the password (pass-through authentication).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PasswordSet {
    pub then: Option<Timestamp>,
    pub now: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionPresence {
    Live {
        expires_at: Timestamp,
    },
    Ended,
    /// No such row: refused, since nothing says how it ended.
    Missing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPresence {
    pub deleted: bool,
    /// The rules' half of the account's state; the directory's half is [`DirectoryPresence`].
    pub account_enabled: bool,
    pub security_stamp: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryPresence {
    /// The password channel has said nothing about this account.
    Unknown,
    State(Box<AccountState>),
    /// The row cannot be read: refused.
    Unreadable,
}

/// Why nothing more is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Session,
    SessionExpired,
    UserDeleted,
    UserDisabled,
    StampMoved,
    PasswordChanged,
    DirectoryDisabled,
    DirectoryUnreadable,
}

impl Ended {
    /// The stable word for audit records.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Session => "session-ended",
            Self::SessionExpired => "session-expired",
            Self::UserDeleted => "user-deleted",
            Self::UserDisabled => "user-disabled",
            Self::StampMoved => "security-stamp-moved",
            Self::PasswordChanged => "password-changed",
            Self::DirectoryDisabled => "directory-disabled",
            Self::DirectoryUnreadable => "directory-state-unreadable",
        }
    }
}

/// The first reason against further use, or none. A session's own expiry does not end a grant, which has its own.
pub fn standing(recorded: &Recorded, present: &Present, now: Timestamp) -> Result<(), Ended> {
    match present.session {
        SessionPresence::Live { .. } => {}
        SessionPresence::Ended | SessionPresence::Missing => return Err(Ended::Session),
    }
    let user = present.user.as_ref().ok_or(Ended::UserDeleted)?;
    if user.deleted {
        return Err(Ended::UserDeleted);
    }
    if !user.account_enabled {
        return Err(Ended::UserDisabled);
    }
    if user.security_stamp != recorded.security_stamp {
        return Err(Ended::StampMoved);
    }
    if recorded.credential_version.is_some() && recorded.credential_version != present.credential_version {
        return Err(Ended::PasswordChanged);
    }
    if let PasswordSet { then: Some(then), now: Some(set) } = present.password_set
        && set > then
    {
        return Err(Ended::PasswordChanged);
    }
    match &present.directory {
        DirectoryPresence::Unknown => Ok(()),
        DirectoryPresence::Unreadable => Err(Ended::DirectoryUnreadable),
        // Lock, hours and an expired password stop a new sign-in, not what an earlier one granted.
        DirectoryPresence::State(state) => {
            let over = state.account_expires.is_some_and(|end| end <= now);
            if state.deleted || !state.enabled || over { Err(Ended::DirectoryDisabled) } else { Ok(()) }
        }
    }
}

/// The same for a session about to make a code: its own expiry counts too.
pub fn session_standing(recorded: &Recorded, present: &Present, now: Timestamp) -> Result<(), Ended> {
    match present.session {
        SessionPresence::Live { expires_at } if expires_at <= now => Err(Ended::SessionExpired),
        SessionPresence::Live { .. } | SessionPresence::Ended | SessionPresence::Missing => {
            standing(recorded, present, now)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn recorded() -> Recorded {
        Recorded { security_stamp: "s1".into(), credential_version: Some(3) }
    }

    fn user() -> UserPresence {
        UserPresence { deleted: false, account_enabled: true, security_stamp: "s1".into() }
    }

    fn present() -> Present {
        Present {
            session: SessionPresence::Live { expires_at: NOW + Duration::from_secs(1) },
            user: Some(user()),
            credential_version: Some(3),
            password_set: PasswordSet { then: Some(NOW), now: Some(NOW) },
            directory: DirectoryPresence::State(Box::new(AccountState::unrestricted())),
        }
    }

    fn directory(change: impl FnOnce(&mut AccountState)) -> Present {
        let mut state = AccountState::unrestricted();
        change(&mut state);
        Present { directory: DirectoryPresence::State(Box::new(state)), ..present() }
    }

    #[test]
    fn each_change_ends_it_for_its_own_reason() {
        assert_eq!(standing(&recorded(), &present(), NOW), Ok(()));
        let with_user = |user| Present { user, ..present() };
        let rows = [
            (Present { session: SessionPresence::Ended, ..present() }, Ended::Session),
            (Present { session: SessionPresence::Missing, ..present() }, Ended::Session),
            (with_user(None), Ended::UserDeleted),
            (with_user(Some(UserPresence { deleted: true, ..user() })), Ended::UserDeleted),
            (with_user(Some(UserPresence { account_enabled: false, ..user() })), Ended::UserDisabled),
            (with_user(Some(UserPresence { security_stamp: "s2".into(), ..user() })), Ended::StampMoved),
            (Present { credential_version: Some(4), ..present() }, Ended::PasswordChanged),
            (Present { credential_version: None, ..present() }, Ended::PasswordChanged),
            (Present { directory: DirectoryPresence::Unreadable, ..present() }, Ended::DirectoryUnreadable),
            (directory(|state| state.enabled = false), Ended::DirectoryDisabled),
            (directory(|state| state.deleted = true), Ended::DirectoryDisabled),
            (directory(|state| state.account_expires = Some(NOW)), Ended::DirectoryDisabled),
        ];
        for (present, ended) in rows {
            assert_eq!(standing(&recorded(), &present, NOW), Err(ended), "{present:?}");
        }
    }

    #[test]
    fn what_no_password_proved_outlives_a_password_change() {
        let federated = Recorded { credential_version: None, ..recorded() };
        assert_eq!(standing(&federated, &Present { credential_version: Some(9), ..present() }, NOW), Ok(()));
    }

    #[test]
    fn a_later_password_ends_what_an_earlier_one_proved_live() {
        let live = Recorded { credential_version: None, ..recorded() };
        let set = |now| PasswordSet { then: Some(NOW), now };
        let later = Some(NOW + Duration::from_millis(1));
        for (password_set, expected) in [
            (set(Some(NOW)), Ok(())),
            (set(None), Ok(())),
            (PasswordSet { then: None, now: later }, Ok(())),
            (set(later), Err(Ended::PasswordChanged)),
        ] {
            assert_eq!(standing(&live, &Present { password_set, ..present() }, NOW), expected, "{password_set:?}");
        }
    }

    #[test]
    fn a_lock_or_an_expired_password_leaves_earlier_grants_alone() {
        let locked = directory(|state| {
            state.locked_until = Some(NOW + Duration::from_secs(60));
            state.password_expires = Some(NOW);
            state.must_change_password = true;
        });
        assert_eq!(standing(&recorded(), &locked, NOW), Ok(()));
    }

    #[test]
    fn an_expired_session_makes_no_code_and_ends_no_grant() {
        let expired = Present { session: SessionPresence::Live { expires_at: NOW }, ..present() };
        assert_eq!(session_standing(&recorded(), &expired, NOW), Err(Ended::SessionExpired));
        assert_eq!(standing(&recorded(), &expired, NOW), Ok(()));
    }
}
