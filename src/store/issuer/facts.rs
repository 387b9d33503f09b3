//! The facts by which a code, grant or session is judged, read in the statement that uses it (design D23).

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{from_json, parsed};
use crate::identity::{AccountState, Timestamp};
use crate::issuer::grant::{Grant, Holder};
use crate::issuer::standing::{DirectoryPresence, PasswordSet, Present, Recorded, SessionPresence, UserPresence};
use crate::store::StoreError;

/// Columns of what is true now. Goes with [`present_joins`].
macro_rules! present_columns {
    () => {
        "s.sid AS session_sid, s.expires_at AS session_expires_at, s.ended_at AS session_ended_at, \
         u.oid AS user_oid, u.deleted_at AS user_deleted_at, u.account_enabled AS user_enabled, \
         u.security_stamp AS user_stamp, u.upn AS user_upn, u.display_name AS user_display_name, \
         u.given_name AS user_given_name, u.surname AS user_surname, u.mail AS user_mail, \
         c.version AS present_version, s.password_set AS proved_password_set, \
         c.password_set AS present_password_set, d.state AS directory_state"
    };
}

/// Joins to the row aliased `x`, which has `sid` and `oid`.
macro_rules! present_joins {
    () => {
        " LEFT JOIN session s ON s.sid = x.sid \
          LEFT JOIN tenant_user u ON u.oid = x.oid \
          LEFT JOIN credential_source o ON o.oid = x.oid \
          LEFT JOIN credential c ON c.connector = o.connector AND c.anchor = o.anchor AND c.stage <> 'wiped' \
          LEFT JOIN directory_state d ON d.connector = o.connector AND d.anchor = o.anchor "
    };
}

/// Columns of a grant aliased `x`.
macro_rules! grant_columns {
    () => {
        "x.grant_id, x.sid, x.oid, x.client_id, x.scope, x.context, x.security_stamp, x.credential_version, \
         x.expires_at AS grant_expires_at, x.revoked_at"
    };
}

pub(super) use {grant_columns, present_columns, present_joins};

pub(super) fn recorded(row: &AnyRow) -> Recorded {
    Recorded { security_stamp: row.get("security_stamp"), credential_version: row.get("credential_version") }
}

pub(super) fn present(row: &AnyRow) -> Present {
    let session_sid: Option<String> = row.get("session_sid");
    let ended_at: Option<i64> = row.get("session_ended_at");
    let expires_at: Option<i64> = row.get("session_expires_at");
    let user_oid: Option<String> = row.get("user_oid");
    let state: Option<String> = row.get("directory_state");
    Present {
        session: match (session_sid, ended_at, expires_at) {
            (Some(_), None, Some(expires_at)) => {
                SessionPresence::Live { expires_at: Timestamp::from_millis(expires_at) }
            }
            (Some(_), _, _) => SessionPresence::Ended,
            (None, _, _) => SessionPresence::Missing,
        },
        user: user_oid.map(|_| UserPresence {
            deleted: row.get::<Option<i64>, _>("user_deleted_at").is_some(),
            account_enabled: row.get::<i64, _>("user_enabled") == 1,
            security_stamp: row.get("user_stamp"),
        }),
        credential_version: row.get("present_version"),
        password_set: PasswordSet {
            then: row.get::<Option<i64>, _>("proved_password_set").map(Timestamp::from_millis),
            now: row.get::<Option<i64>, _>("present_password_set").map(Timestamp::from_millis),
        },
        directory: match state.map(|text| serde_json::from_str::<AccountState>(&text)) {
            None => DirectoryPresence::Unknown,
            Some(Ok(state)) => DirectoryPresence::State(Box::new(state)),
            Some(Err(_)) => DirectoryPresence::Unreadable,
        },
    }
}

/// The user; only after the facts were judged, since the row may hold none.
pub(super) fn holder(row: &AnyRow) -> Holder {
    Holder {
        upn: row.get::<Option<String>, _>("user_upn").unwrap_or_default(),
        display_name: row.get("user_display_name"),
        given_name: row.get("user_given_name"),
        surname: row.get("user_surname"),
        mail: row.get("user_mail"),
    }
}

pub(super) fn grant(row: &AnyRow) -> Result<Grant, StoreError> {
    const TABLE: &str = "refresh_grant";
    Ok(Grant {
        id: parsed(TABLE, "grant_id", row.get("grant_id"))?,
        client: parsed(TABLE, "client_id", row.get("client_id"))?,
        oid: parsed(TABLE, "oid", row.get("oid"))?,
        sid: parsed(TABLE, "sid", row.get("sid"))?,
        scope: parsed(TABLE, "scope", row.get("scope"))?,
        context: from_json(TABLE, "context", row.get("context"))?,
    })
}
