//! Read sets of synchronise and its commit: metaverse, links that become due, staged exports, cleared imports, in one
//! transaction per batch.

use std::collections::HashSet;

use super::decode::{self, EXPORT, METAVERSE, OBJECT, to_json};
use super::session::SqlEngine;
use super::spaces::ids;
use crate::identity::{ConnectorName, LeaseEpoch, Timestamp};
use crate::store::statement::{Arg, RowArgs, Statement, in_list, in_rows, insert, update};
use crate::sync::change_set::SyncBatch;
use crate::sync::fault::{Fault, planted};
use crate::sync::join_key::JoinKey;
use crate::sync::metaverse::{MvId, MvObject};
use crate::sync::problem::{Problem, ProblemCode};
use crate::sync::rule::MEMBER;
use crate::sync::space::{ObjectId, PendingExport, SpaceObject};
use crate::sync::store::{KeptGroup, StoreResult, Synchronisation, Walk, Which};

/// Of connector `$1`, behind id `$2`, at most `$3`.
pub(super) fn walked(which: Which) -> String {
    let which = match which {
        Which::Due => "due = 1 AND",
        Which::All => "kind = 'object' AND",
    };
    format!("SELECT {OBJECT} FROM space_object WHERE {which} connector = $1 AND id > $2 ORDER BY id LIMIT $3")
}

#[async_trait::async_trait]
impl Synchronisation for SqlEngine {
    async fn walk(&self, connector: &ConnectorName, walk: Walk, limit: usize) -> StoreResult<Vec<SpaceObject>> {
        let sql = walked(walk.which);
        let args = vec![connector.as_str().into(), walk.after.0.into(), (limit as i64).into()];
        self.rows("reading a connector space", Statement::new(sql, args)).await?.iter().map(decode::object).collect()
    }

    async fn objects(&self, wanted: &[ObjectId]) -> StoreResult<Vec<SpaceObject>> {
        let sql = format!("SELECT {OBJECT} FROM space_object WHERE id IN ({{}})");
        let rows = self.all_rows("reading objects", in_list(&sql, &[], ids(wanted))).await?;
        rows.iter().map(decode::object).collect()
    }

    async fn further_members(&self, mvs: &[MvId], known: &HashSet<ObjectId>) -> StoreResult<Vec<SpaceObject>> {
        let sql = format!("SELECT {OBJECT} FROM space_object WHERE mv IN ({{}})");
        let rows = self.all_rows("reading linked objects", in_list(&sql, &[], mv_ids(mvs))).await?;
        rows.iter().filter(|row| !known.contains(&ObjectId(row.get("id")))).map(decode::object).collect()
    }

    async fn metaverse(&self, wanted: &[MvId]) -> StoreResult<Vec<MvObject>> {
        let sql = format!("SELECT {METAVERSE} FROM mv_object WHERE id IN ({{}})");
        let rows = self.all_rows("reading the metaverse", in_list(&sql, &[], mv_ids(wanted))).await?;
        rows.iter().map(decode::mv_object).collect()
    }

    async fn due_metaverse(&self, limit: usize) -> StoreResult<Vec<MvId>> {
        let sql = "SELECT id FROM mv_object WHERE due = 1 ORDER BY id LIMIT $1";
        let rows = self.rows("reading the metaverse", Statement::new(sql, vec![(limit as i64).into()])).await?;
        Ok(rows.iter().map(|row| MvId(row.get(0))).collect())
    }

    async fn review(&self, epoch: LeaseEpoch, until: Option<Timestamp>) -> StoreResult<()> {
        let mut sql = "UPDATE mv_object SET due = 1 WHERE due = 0 AND review_at IS NOT NULL".to_owned();
        let mut args = Vec::new();
        if let Some(until) = until {
            sql += " AND review_at <= $1";
            args.push(until.millis().into());
        }
        self.write(epoch, vec![Statement::new(sql, args)]).await.map(drop)
    }

    async fn by_join_key(&self, keys: &[JoinKey]) -> StoreResult<Vec<(JoinKey, MvId)>> {
        let sql = "SELECT key, mv FROM mv_key WHERE key IN ({})";
        let keys = keys.iter().map(|key| Arg::from(key.as_str())).collect();
        let rows = self.all_rows("reading join keys", in_list(sql, &[], keys)).await?;
        Ok(rows.iter().map(|row| (JoinKey::from_stored(row.get(0)), MvId(row.get(1)))).collect())
    }

    async fn adoptable(&self, connector: &ConnectorName, keys: &[JoinKey]) -> StoreResult<Vec<SpaceObject>> {
        let sql =
            format!("SELECT {OBJECT} FROM space_object WHERE connector = $1 AND mv IS NULL AND match_key IN ({{}})");
        let keys = keys.iter().map(|key| Arg::from(key.as_str())).collect();
        let statements = in_list(&sql, &[connector.as_str().into()], keys);
        self.all_rows("reading a target space", statements).await?.iter().map(decode::object).collect()
    }

    async fn staged(&self, objects: &[ObjectId]) -> StoreResult<Vec<PendingExport>> {
        let sql = format!("SELECT {EXPORT} FROM pending_export WHERE object IN ({{}})");
        let rows = self.all_rows("reading pending exports", in_list(&sql, &[], ids(objects))).await?;
        rows.iter().map(decode::export).collect()
    }

    async fn waits(&self, objects: &[ObjectId]) -> StoreResult<Vec<(ObjectId, JoinKey)>> {
        let sql = "SELECT object, key FROM join_wait WHERE object IN ({})";
        let rows = self.all_rows("reading join waits", in_list(sql, &[], ids(objects))).await?;
        Ok(rows.iter().map(|row| (ObjectId(row.get(0)), JoinKey::from_stored(row.get(1)))).collect())
    }

    async fn problems(&self, objects: &[ObjectId]) -> StoreResult<Vec<(ObjectId, Problem)>> {
        let sql = "SELECT object, code, detail FROM object_problem WHERE object IN ({})";
        let rows = self.all_rows("reading problems", in_list(sql, &[], ids(objects))).await?;
        rows.iter()
            .map(|row| {
                let code = decode::code(row, "code", ProblemCode::from_code)?;
                Ok((ObjectId(row.get("object")), Problem::new(code, row.get::<String, _>("detail"))))
            })
            .collect()
    }

    async fn kept_groups(&self, connector: &ConnectorName) -> StoreResult<Vec<(String, String)>> {
        let sql = "SELECT named, anchor FROM scope_group WHERE connector = $1";
        let rows = self.rows("reading named groups", Statement::new(sql, vec![connector.as_str().into()])).await?;
        Ok(rows.iter().map(|row| (row.get("named"), row.get("anchor"))).collect())
    }

    async fn follow_groups(&self, epoch: LeaseEpoch, found: Vec<KeptGroup>, groups: &[ObjectId]) -> StoreResult<()> {
        let members = |which: &str| {
            format!(
                "UPDATE space_object SET due = 1 WHERE due = 0 AND kind = 'object' AND id IN \
                 (SELECT target FROM space_link WHERE {which} attribute = '{MEMBER}' AND owner IN ({{}}))"
            )
        };
        let all: Vec<ObjectId> = found.iter().map(|kept| kept.group).collect();
        let rows = found
            .into_iter()
            .map(|kept| vec![kept.connector.as_str().into(), kept.named.into(), kept.anchor.into()])
            .collect();
        let mut statements = insert(
            "scope_group (connector, named, anchor)",
            rows,
            "ON CONFLICT (connector, named) DO UPDATE SET anchor = excluded.anchor",
        );
        statements.extend(in_list(&members(""), &[], ids(&all)));
        statements.extend(in_list(&members("due = 1 AND"), &[], ids(groups)));
        self.write(epoch, statements).await.map(drop)
    }

    async fn memberships(&self, groups: &[ObjectId], members: &[ObjectId]) -> StoreResult<Vec<(ObjectId, ObjectId)>> {
        let groups = groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT owner, target FROM space_link WHERE attribute = '{MEMBER}' AND state <> 'removed' \
             AND owner IN ({groups}) AND target IN ({{}})"
        );
        let rows = self.all_rows("reading memberships", in_list(&sql, &[], ids(members))).await?;
        Ok(rows.iter().map(|row| (ObjectId(row.get(0)), ObjectId(row.get(1)))).collect())
    }

    async fn commit_sync(&self, epoch: LeaseEpoch, batch: SyncBatch, _targets: &[ConnectorName]) -> StoreResult<()> {
        self.write(epoch, sync_statements(batch)?).await.map(drop)
    }
}

fn sync_statements(batch: SyncBatch) -> StoreResult<Vec<Statement>> {
    let mut statements = Vec::new();
    objects(&batch, &mut statements)?;
    metaverse(&batch, &mut statements)?;
    exports(&batch, &mut statements)?;
    let wait = |(object, key): &(ObjectId, JoinKey)| vec![Arg::from(key.as_str()), object.0.into()];
    statements.extend(in_rows(
        "DELETE FROM join_wait WHERE (key, object) IN ({})",
        &[],
        batch.waits_removed.iter().map(wait).collect(),
    ));
    statements.extend(insert(
        "join_wait (key, object)",
        batch.waits_added.iter().map(wait).collect(),
        "ON CONFLICT (key, object) DO NOTHING",
    ));
    statements.extend(problem_statements(&batch.problems_of, &batch.problems));
    statements.extend(in_list("DELETE FROM object_problem WHERE object IN ({})", &[], ids(&batch.removed)));
    edges(&batch, &mut statements);
    Ok(statements)
}

fn objects(batch: &SyncBatch, statements: &mut Vec<Statement>) -> StoreResult<()> {
    let mut rows = Vec::new();
    for object in &batch.inserted {
        rows.push(vec![
            object.id.0.into(),
            object.connector.as_str().into(),
            object.object_type.as_str().into(),
            object.kind.code().into(),
            object.anchor.clone().into(),
            object.rdn.as_str().into(),
            "".into(),
            object.pending_import.code().into(),
            object.due.into(),
            object.mv.map(|mv| mv.0).into(),
            object.joined_by.clone().into(),
            to_json(&object.applied)?.into(),
            object.match_key.clone().into(),
        ]);
    }
    statements.extend(insert(
        "space_object (id, connector, object_type, kind, anchor, rdn, digest, pending_import, due, mv, joined_by, \
         applied, match_key)",
        rows,
        "",
    ));
    let mut rows: Vec<RowArgs> = Vec::new();
    let mut emptied = Vec::new();
    for object in &batch.updated {
        if object.anchor.is_none() && object.shown.is_none() && object.match_key.is_none() {
            emptied.push(object.id);
        }
        rows.push(vec![
            object.id.0.into(),
            object.kind.code().into(),
            object.pending_import.code().into(),
            object.due.into(),
            object.mv.map(|mv| mv.0).into(),
            object.joined_by.clone().into(),
            to_json(&object.applied)?.into(),
            object.match_key.clone().into(),
            object.found_at.map(Timestamp::millis).into(),
        ]);
    }
    let set = ["kind", "pending_import", "due", "mv", "joined_by", "applied", "match_key", "found_at"];
    statements.extend(update("space_object", &["id"], &set, rows));
    // What left the directory keeps alone what others refer to it by: its place, or its anchor where there are no places.
    statements.extend(in_list(
        "UPDATE space_object SET anchor = CASE WHEN place IS NULL THEN anchor END, shown = NULL, unconfirmed = NULL, digest = '', object_type = '' WHERE kind = 'placeholder' AND id IN ({})",
        &[],
        ids(&emptied),
    ));
    statements.extend(in_list("DELETE FROM space_object WHERE id IN ({})", &[], ids(&batch.removed)));
    statements.extend(in_list("DELETE FROM space_link WHERE owner IN ({})", &[], ids(&batch.removed)));
    statements.extend(in_list("DELETE FROM space_link WHERE target IN ({})", &[], ids(&batch.removed)));
    Ok(())
}

fn metaverse(batch: &SyncBatch, statements: &mut Vec<Statement>) -> StoreResult<()> {
    let mut rows = Vec::new();
    for object in &batch.mv_written {
        rows.push(vec![
            object.id.0.into(),
            object.object_type.as_str().into(),
            to_json(&*object.attributes)?.into(),
            object.due.into(),
            object.review.map(Timestamp::millis).into(),
        ]);
    }
    statements.extend(insert(
        "mv_object (id, object_type, attributes, due, review_at)",
        rows,
        "ON CONFLICT (id) DO UPDATE SET attributes = excluded.attributes, due = excluded.due, \
         review_at = excluded.review_at",
    ));
    statements.extend(in_list("DELETE FROM mv_object WHERE id IN ({})", &[], mv_ids(&batch.mv_removed)));
    let key = |(key, mv): &(JoinKey, MvId)| vec![Arg::from(key.as_str()), mv.0.into()];
    statements.extend(in_rows(
        "DELETE FROM mv_key WHERE (key, mv) IN ({})",
        &[],
        batch.keys_removed.iter().map(key).collect(),
    ));
    statements.extend(insert(
        "mv_key (key, mv)",
        batch.keys_added.iter().map(key).collect(),
        "ON CONFLICT (key, mv) DO NOTHING",
    ));
    Ok(())
}

fn exports(batch: &SyncBatch, statements: &mut Vec<Statement>) -> StoreResult<()> {
    let mut rows = Vec::new();
    for export in &batch.staged {
        rows.push(vec![
            export.object.0.into(),
            export.connector.as_str().into(),
            export.kind.code().into(),
            to_json(&export.changes)?.into(),
            export.state.code().into(),
            export.error.clone().into(),
            export.attempts.into(),
        ]);
    }
    statements.extend(insert(
        "pending_export (object, connector, kind, changes, state, error, attempts)",
        rows,
        "ON CONFLICT (object) DO UPDATE SET kind = excluded.kind, changes = excluded.changes, \
         state = excluded.state, error = excluded.error, attempts = excluded.attempts",
    ));
    statements.extend(in_list("DELETE FROM pending_export WHERE object IN ({})", &[], ids(&batch.unstaged)));
    Ok(())
}

pub(super) fn problem_statements(of: &[ObjectId], problems: &[(ObjectId, Problem)]) -> Vec<Statement> {
    let mut statements = in_list("DELETE FROM object_problem WHERE object IN ({})", &[], ids(of));
    let rows = problems
        .iter()
        .map(|(object, problem)| vec![object.0.into(), problem.code.code().into(), problem.detail.as_str().into()])
        .collect();
    let keep = "ON CONFLICT (object, code, detail) DO NOTHING";
    statements.extend(insert("object_problem (object, code, detail)", rows, keep));
    statements
}

/// Follows what the batch changed to what must look at it again (design, section 4 "Delta sync misses nothing"). What is due
/// already stays unwritten: of a first import that is every link.
fn edges(batch: &SyncBatch, statements: &mut Vec<Statement>) {
    // A join key came or went: those who wait for it.
    let moved = batch.keys_added.iter().chain(&batch.keys_removed).map(|(key, _)| Arg::from(key.as_str())).collect();
    statements.extend(in_list(
        "UPDATE space_object SET due = 1 WHERE due = 0 AND id IN (SELECT object FROM join_wait WHERE key IN ({}))",
        &[],
        moved,
    ));
    // An end of a link was joined, filtered or gone: its links.
    for column in ["owner", "target"] {
        statements.extend(in_list(
            &format!("UPDATE space_link SET due = 1 WHERE due = 0 AND {column} IN ({{}})"),
            &[],
            if column == "target" && planted(Fault::NoReverseReference) { vec![] } else { ids(&batch.moved_sources) },
        ));
        statements.extend(in_list(
            &format!("UPDATE space_link SET due = 1 WHERE due = 0 AND {column} IN ({{}})"),
            &[],
            ids(&batch.moved_target_objects),
        ));
        statements.extend(in_list(
            &format!("UPDATE mv_link SET due = 1 WHERE due = 0 AND {column} IN ({{}})"),
            &[],
            if planted(Fault::TargetComingUnnoticed) { Vec::new() } else { mv_ids(&batch.moved_targets) },
        ));
    }
}

pub(super) fn mv_ids(ids: &[MvId]) -> Vec<Arg> {
    ids.iter().map(|id| Arg::Int(id.0)).collect()
}
