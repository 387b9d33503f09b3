//! Writes a plan: rows, unique values, sign-in names, and what a changed user means for sessions and credentials.
//! The number of statements depends on the size of the piece alone.

use std::time::Duration;

use super::super::error::StoreError;
use super::super::statement::Statement;
use super::feed::Feed;
use super::rows::{
    GROUP_INTO, GROUP_UPSERT, PLAIN_INTO, PLAIN_UPSERT, USER_INTO, USER_UPSERT, group_cells, plain_cells, user_cells,
};
use super::sql::{Cell, insert, keys, where_in};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{CredentialSource, Timestamp};
use crate::store::Connection;
use crate::tenant::plan::{Plan, Written};
use crate::tenant::read_back::ChangeOperation;
use crate::tenant::record::{GroupRecord, PlainRecord, Quarantine, UserRecord, Values};
use crate::tenant::unique::UniqueKind;

/// How long federation still matches a former UPN (design D9).
const FORMER_UPN: Duration = Duration::from_secs(24 * 3600);

/// Returns the record of the credentials that it wiped.
pub(super) async fn write_plan(
    conn: &mut Connection,
    feed: &mut Feed,
    plan: &Plan,
    now: Timestamp,
    alternate_login_id: bool,
) -> Result<Option<Event>, StoreError> {
    let rows: Vec<_> = plan.users.iter().map(|user| user_cells(&user.after)).collect();
    insert(conn, USER_INTO, USER_UPSERT, rows, "writing users").await?;
    let rows: Vec<_> = plan.groups.iter().map(|group| group_cells(&group.after)).collect();
    insert(conn, GROUP_INTO, GROUP_UPSERT, rows, "writing groups").await?;
    let rows: Vec<_> = plan.plains.iter().map(|plain| plain_cells(&plain.after)).collect();
    insert(conn, PLAIN_INTO, PLAIN_UPSERT, rows, "writing contacts and devices").await?;
    write_unique_values(conn, plan).await?;
    write_quarantine(conn, plan).await?;
    write_sign_in_names(conn, &plan.users, alternate_login_id).await?;
    write_credential_sources(conn, &plan.users, now).await?;
    let wiped = wipe_credentials(conn, &plan.users).await?;
    queue_fetches(conn, &plan.users, now).await?;
    write_former_upns(conn, &plan.users, now).await?;
    end_sessions(conn, &plan.users, now).await?;
    count_objects(conn, plan).await?;
    for user in &plan.users {
        feed.note("user", user.after.oid.to_string(), None, user.operation);
    }
    for group in &plan.groups {
        feed.note("group", group.after.oid.to_string(), None, group.operation);
    }
    for plain in &plan.plains {
        feed.note(plain.after.kind.as_str(), plain.after.oid.to_string(), None, plain.operation);
    }
    Ok(wiped)
}

async fn count_objects(conn: &mut Connection, plan: &Plan) -> Result<(), StoreError> {
    let operations = plan.users.iter().map(|user| user.operation);
    let operations = operations.chain(plan.groups.iter().map(|group| group.operation));
    let more: i64 = operations
        .chain(plan.plains.iter().map(|plain| plain.operation))
        .map(|operation| match operation {
            ChangeOperation::Add | ChangeOperation::Restore => 1,
            ChangeOperation::Delete => -1,
            ChangeOperation::Update => 0,
        })
        .sum();
    if more == 0 {
        return Ok(());
    }
    let sql = "UPDATE counter SET value = value + $1 WHERE name = 'objects'";
    conn.rows("counting objects", vec![Statement::new(sql, vec![more.into()])]).await.map(drop)
}

/// What of a user's values lives in `unique_value`; credential sources have a table of their own.
fn held_by_user(user: &UserRecord) -> Values {
    let mut held = user.held();
    held.retain(|(kind, _)| *kind != UniqueKind::Credential);
    held
}

async fn write_unique_values(conn: &mut Connection, plan: &Plan) -> Result<(), StoreError> {
    let users = plan.users.iter().map(|user| {
        (user.after.id(), user.before.as_ref().map(held_by_user).unwrap_or_default(), held_by_user(&user.after))
    });
    let groups = plan.groups.iter().map(|group| {
        (group.after.id(), group.before.as_ref().map(GroupRecord::held).unwrap_or_default(), group.after.held())
    });
    let plains = plan.plains.iter().map(|plain| {
        (plain.after.id(), plain.before.as_ref().map(PlainRecord::held).unwrap_or_default(), plain.after.held())
    });
    let (mut former, mut rows) = (Vec::new(), Vec::new());
    let objects = users.chain(groups).chain(plains);
    for (id, before, after) in objects {
        let key =
            |(kind, value): &(UniqueKind, String)| -> Vec<Cell> { vec![kind.as_str().into(), value.clone().into()] };
        former.extend(before.difference(&after).map(key));
        rows.extend(after.difference(&before).map(|value| {
            let mut row = key(value);
            row.extend([id.type_word().into(), id.to_string().into()]);
            row
        }));
    }
    // All are taken away before any is given: two users may swap theirs.
    let doing = "writing unique values";
    where_in(conn, "DELETE FROM unique_value WHERE (kind, value)", "", &former, doing).await?;
    insert(conn, "unique_value (kind, value, owner_kind, owner)", "", rows, doing).await?;
    Ok(())
}

async fn write_quarantine(conn: &mut Connection, plan: &Plan) -> Result<(), StoreError> {
    let key = |(kind, value): &(UniqueKind, String), oid: &str| -> Vec<Cell> {
        vec![oid.into(), kind.as_str().into(), value.clone().into()]
    };
    let (mut former, mut rows, none) = (Vec::new(), Vec::new(), Quarantine::new());
    let users = plan
        .users
        .iter()
        .map(|user| (user.after.id(), user.before.as_ref().map(|before| &before.quarantined), &user.after.quarantined));
    let groups = plan.groups.iter().map(|group| {
        (group.after.id(), group.before.as_ref().map(|before| &before.quarantined), &group.after.quarantined)
    });
    let plains = plan.plains.iter().map(|plain| {
        (plain.after.id(), plain.before.as_ref().map(|before| &before.quarantined), &plain.after.quarantined)
    });
    for (id, before, after) in users.chain(groups).chain(plains) {
        let (oid, before) = (id.to_string(), before.unwrap_or(&none));
        former.extend(
            before.iter().filter(|(value, waits)| after.get(*value) != Some(waits)).map(|(value, _)| key(value, &oid)),
        );
        let new = after.iter().filter(|(value, waits)| before.get(*value) != Some(waits));
        rows.extend(new.map(|(value, waits)| {
            let mut row = key(value, &oid);
            row.extend([waits.held_by.clone().into(), waits.since.millis().into()]);
            row
        }));
    }
    let doing = "writing quarantined values";
    where_in(conn, "DELETE FROM quarantined_value WHERE (oid, kind, value)", "", &former, doing).await?;
    insert(conn, "quarantined_value (oid, kind, value, held_by, since)", "", rows, doing).await?;
    Ok(())
}

async fn write_sign_in_names(
    conn: &mut Connection,
    users: &[Written<UserRecord>],
    alternate_login_id: bool,
) -> Result<(), StoreError> {
    let (mut former, mut rows) = (Vec::new(), Vec::new());
    for user in users {
        let after = user.after.sign_in_names(alternate_login_id);
        let before = user.before.as_ref().map(|before| before.sign_in_names(alternate_login_id));
        if before.as_ref() == Some(&after) {
            continue;
        }
        let oid = user.after.oid.to_string();
        rows.extend(after.into_iter().map(|(kind, name)| vec![name.into(), kind.as_str().into(), oid.clone().into()]));
        former.extend(before.map(|_| oid));
    }
    let doing = "writing sign-in names";
    where_in(conn, "DELETE FROM sign_in_name WHERE oid", "", &keys(former), doing).await?;
    insert(conn, "sign_in_name (folded, kind, oid)", "", rows, doing).await?;
    Ok(())
}

async fn write_credential_sources(
    conn: &mut Connection,
    users: &[Written<UserRecord>],
    now: Timestamp,
) -> Result<(), StoreError> {
    let (mut former, mut rows) = (Vec::new(), Vec::new());
    for user in users {
        let before = user.before.as_ref().and_then(|before| before.credential.as_ref());
        let after = user.after.credential.as_ref();
        if before == after {
            continue;
        }
        let oid = user.after.oid.to_string();
        rows.extend(after.map(|link| {
            vec![
                oid.clone().into(),
                link.source.connector.as_str().into(),
                link.source.anchor.as_str().into(),
                link.eligible.into(),
                now.millis().into(),
            ]
        }));
        former.extend(before.map(|_| oid));
    }
    let doing = "writing credential sources";
    where_in(conn, "DELETE FROM credential_source WHERE oid", "", &keys(former), doing).await?;
    insert(conn, "credential_source (oid, connector, anchor, eligible, updated_at)", "", rows, doing).await?;
    Ok(())
}

fn source_cells(source: &CredentialSource) -> Vec<Cell> {
    vec![source.connector.as_str().into(), source.anchor.as_str().into()]
}

/// The row stays, so that its version goes on growing; its secret, chain and stamp do not.
async fn wipe_credentials(conn: &mut Connection, users: &[Written<UserRecord>]) -> Result<Option<Event>, StoreError> {
    let sources: Vec<_> = users.iter().filter_map(Written::wipes).map(source_cells).collect();
    let wipe = "UPDATE credential SET stage = 'wiped', chain = '', sealed = '', source_stamp = '', reason = NULL, \
                password_set = NULL, outdated_at = NULL, outdated_by = NULL \
                WHERE stage <> 'wiped' AND (connector, anchor)";
    let wiped = where_in(conn, wipe, "RETURNING connector, anchor", &sources, "wiping credentials").await?;
    let wiped: Vec<String> = wiped
        .iter()
        .map(|row| format!("{}/{}", row.get::<String, _>("connector"), row.get::<String, _>("anchor")))
        .collect();
    let forget = "DELETE FROM credential_fetch WHERE (connector, anchor)";
    where_in(conn, forget, "", &sources, "forgetting password reads").await?;
    let record = || Event::new(EventKind::CredentialWiped, Outcome::Success, Actor::System("export".to_owned()));
    Ok((!wiped.is_empty()).then(|| record().because("exported").with("sources", wiped)))
}

async fn queue_fetches(conn: &mut Connection, users: &[Written<UserRecord>], now: Timestamp) -> Result<(), StoreError> {
    let row = |(source, reason): (&CredentialSource, crate::tenant::effects::FetchReason)| {
        let mut cells = source_cells(source);
        cells.extend([reason.as_str().into(), now.millis().into(), 0_i64.into(), now.millis().into()]);
        cells
    };
    let rows: Vec<_> = users.iter().filter_map(Written::fetches).map(row).collect();
    let into = "credential_fetch (connector, anchor, reason, queued_at, attempts, next_at)";
    let again = "ON CONFLICT (connector, anchor) DO UPDATE SET reason = excluded.reason, \
                 queued_at = excluded.queued_at, attempts = 0, next_at = excluded.next_at";
    insert(conn, into, again, rows, "queueing password reads").await?;
    Ok(())
}

async fn write_former_upns(
    conn: &mut Connection,
    users: &[Written<UserRecord>],
    now: Timestamp,
) -> Result<(), StoreError> {
    let until = (now + FORMER_UPN).millis();
    let row = |user: &Written<UserRecord>| {
        let former = user.former_upn()?;
        Some(vec![user.after.oid.to_string().into(), former.into(), until.into()])
    };
    let rows: Vec<Vec<Cell>> = users.iter().filter_map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let doing = "writing former names";
    insert(conn, "upn_history (oid, folded, held_until)", "ON CONFLICT DO NOTHING", rows, doing).await?;
    sqlx::query("DELETE FROM upn_history WHERE held_until <= $1")
        .bind(now.millis())
        .execute(conn)
        .await
        .map_err(StoreError::doing("dropping former names"))?;
    Ok(())
}

/// A deleted user's sessions and refresh grants end with the user (design D22). The moved stamp ends the rest.
async fn end_sessions(conn: &mut Connection, users: &[Written<UserRecord>], now: Timestamp) -> Result<(), StoreError> {
    let deleted = keys(users.iter().filter(|user| user.ends_sessions()).map(|user| user.after.oid.to_string()));
    let at = now.millis();
    // The instant is a number of ours, and the keys take the placeholders from 1.
    let sessions =
        format!("UPDATE session SET ended_at = {at}, end_reason = 'user-deleted' WHERE ended_at IS NULL AND oid");
    where_in(conn, &sessions, "", &deleted, "ending sessions").await?;
    let grants = format!(
        "UPDATE refresh_grant SET revoked_at = {at}, revoke_reason = 'user-deleted' WHERE revoked_at IS NULL AND oid"
    );
    where_in(conn, &grants, "", &deleted, "revoking grants").await?;
    Ok(())
}
