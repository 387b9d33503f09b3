//! Memberships: link deltas, members that wait for their object, and the counter of members.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::bulk::{chunk_sizes, values_clause};
use super::super::error::StoreError;
use super::super::rows::Rows;
use super::feed::Feed;
use super::load::object_id;
use super::sql::{Cell, insert, keys, where_in};
use crate::identity::{GroupId, SourceAnchor};
use crate::store::Connection;
use crate::tenant::plan::Plan;
use crate::tenant::{ChangeOperation, ObjectId};

/// A change of one membership.
#[derive(Clone, Debug)]
pub(super) struct LinkDelta {
    pub group: GroupId,
    pub member: String,
    pub adds: bool,
}

/// Applies deltas, and returns those adds whose member is not in the directory: they wait.
pub(super) async fn apply(
    conn: &mut Connection,
    feed: &mut Feed,
    deltas: &[LinkDelta],
) -> Result<Vec<LinkDelta>, StoreError> {
    let members = resolve(conn, deltas).await?;
    let mut counts = BTreeMap::new();
    // Whatever is removed may be there, or still wait.
    let (mut gone, mut no_longer_waiting, mut added, mut waiting) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut unresolved = Vec::new();
    for delta in deltas {
        let group = delta.group.to_string();
        let member = members.get(&delta.member);
        let link = |member: &ObjectId| {
            let (kind, oid) = member_key(member);
            vec![Cell::from(group.clone()), kind.into(), oid.into()]
        };
        let wait = || vec![Cell::from(group.clone()), delta.member.clone().into()];
        match (delta.adds, member) {
            (false, member) => {
                gone.extend(member.map(link));
                no_longer_waiting.push(wait());
            }
            (true, Some(member)) => added.push(link(member)),
            (true, None) => {
                waiting.push(wait());
                unresolved.push(delta.clone());
            }
        }
    }
    let head = "DELETE FROM membership WHERE (group_oid, member_kind, member_oid)";
    let returning = "RETURNING group_oid, member_kind, member_oid";
    let rows = where_in(conn, head, returning, &gone, "removing memberships").await?;
    note(feed, &mut counts, &rows, ChangeOperation::Delete);
    let head = "DELETE FROM membership_waiting WHERE (group_oid, member_anchor)";
    let returning_waiting = "RETURNING group_oid, member_anchor";
    let rows = where_in(conn, head, returning_waiting, &no_longer_waiting, "removing waiting memberships").await?;
    note_waiting(feed, &rows, ChangeOperation::Delete);
    let into = "membership (group_oid, member_kind, member_oid)";
    let tail = "ON CONFLICT DO NOTHING RETURNING group_oid, member_kind, member_oid";
    let rows = insert(conn, into, tail, added, "adding memberships").await?;
    note(feed, &mut counts, &rows, ChangeOperation::Add);
    let into = "membership_waiting (group_oid, member_anchor)";
    let tail = "ON CONFLICT DO NOTHING RETURNING group_oid, member_anchor";
    let rows = insert(conn, into, tail, waiting, "noting waiting memberships").await?;
    note_waiting(feed, &rows, ChangeOperation::Add);
    add_to_counts(conn, counts).await?;
    Ok(unresolved)
}

/// Joins objects that a plan adds to the groups that wait for them. The client has seen these links confirmed already.
pub(super) async fn join_waiting(conn: &mut Connection, plan: &Plan) -> Result<(), StoreError> {
    let mut added: HashMap<String, ObjectId> = HashMap::new();
    // An object that a directory took over is known by its anchor from now on.
    let is_new = |before: Option<Option<&SourceAnchor>>| before.is_none_or(|anchor| anchor.is_none());
    for user in
        plan.users.iter().filter(|user| is_new(user.before.as_ref().map(|before| before.source_anchor.as_ref())))
    {
        added.extend(user.after.source_anchor.as_ref().map(|anchor| (anchor.to_string(), user.after.id())));
    }
    let groups = plan.groups.iter();
    for group in groups.filter(|group| is_new(group.before.as_ref().map(|before| before.source_anchor.as_ref()))) {
        added.extend(group.after.source_anchor.as_ref().map(|anchor| (anchor.to_string(), group.after.id())));
    }
    for plain in plan.plains.iter().filter(|plain| plain.before.is_none()) {
        added.insert(plain.after.source_anchor.to_string(), plain.after.id());
    }
    let anchors = keys(added.keys().cloned());
    let head = "DELETE FROM membership_waiting WHERE member_anchor";
    let found = where_in(conn, head, "RETURNING group_oid, member_anchor", &anchors, "joining waiting members").await?;
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for row in &found {
        let (group, anchor): (String, String) = (row.get("group_oid"), row.get("member_anchor"));
        rows.extend(added.get(&anchor).map(|member| {
            let (kind, oid) = member_key(member);
            vec![group.into(), kind.into(), oid.into()]
        }));
    }
    let into = "membership (group_oid, member_kind, member_oid)";
    let tail = "ON CONFLICT DO NOTHING RETURNING group_oid, member_kind, member_oid";
    let rows = insert(conn, into, tail, rows, "joining waiting members").await?;
    let mut counts = BTreeMap::new();
    for row in &rows {
        *counts.entry(row.get("group_oid")).or_insert(0) += 1;
    }
    add_to_counts(conn, counts).await
}

/// The objects of the deltas' members, deleted ones included: they are back with their memberships when restored. Most are
/// users, and an anchor is one object's: what is found is looked for no further.
async fn resolve(conn: &mut Connection, deltas: &[LinkDelta]) -> Result<HashMap<String, ObjectId>, StoreError> {
    let mut unknown: BTreeSet<&str> = deltas.iter().map(|delta| delta.member.as_str()).collect();
    let mut members = HashMap::with_capacity(unknown.len());
    for head in [
        "SELECT 'user' AS kind, oid, source_anchor FROM tenant_user WHERE source_anchor",
        "SELECT 'group' AS kind, oid, source_anchor FROM tenant_group WHERE source_anchor",
        "SELECT kind, oid, source_anchor FROM tenant_plain WHERE source_anchor",
    ] {
        let anchors = keys(unknown.iter().copied());
        for row in &where_in(conn, head, "", &anchors, "resolving members").await? {
            let anchor: &str = row.get("source_anchor");
            unknown.remove(anchor);
            members.insert(anchor.to_owned(), object_id(row.get("kind"), row.get("oid"))?);
        }
    }
    Ok(members)
}

fn member_key(member: &ObjectId) -> (&'static str, String) {
    (member.type_word(), member.to_string())
}

fn note(feed: &mut Feed, counts: &mut BTreeMap<String, i64>, rows: &Rows, operation: ChangeOperation) {
    let step = if operation == ChangeOperation::Add { 1 } else { -1 };
    for row in rows {
        let (group, kind, oid): (String, String, String) =
            (row.get("group_oid"), row.get("member_kind"), row.get("member_oid"));
        *counts.entry(group.clone()).or_insert(0) += step;
        feed.note("member", group, Some(format!("{kind}:{oid}")), operation);
    }
}

fn note_waiting(feed: &mut Feed, rows: &Rows, operation: ChangeOperation) {
    for row in rows {
        let anchor: String = row.get("member_anchor");
        feed.note("member", row.get("group_oid"), Some(format!("anchor:{anchor}")), operation);
    }
}

pub(super) async fn add_to_counts(conn: &mut Connection, counts: BTreeMap<String, i64>) -> Result<(), StoreError> {
    let counts: Vec<(String, i64)> = counts.into_iter().filter(|(_, step)| *step != 0).collect();
    let mut left = counts.as_slice();
    for size in chunk_sizes(counts.len()) {
        let (chunk, rest) = left.split_at(size);
        left = rest;
        let sql = format!(
            "UPDATE tenant_group SET member_count = member_count + step.column2 FROM (VALUES {}) AS step \
             WHERE oid = step.column1",
            values_clause(size, 2, 1)
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for (group, step) in chunk {
            query = query.bind(group.clone()).bind(*step);
        }
        query.execute(&mut *conn).await.map_err(StoreError::doing("counting members"))?;
    }
    Ok(())
}
