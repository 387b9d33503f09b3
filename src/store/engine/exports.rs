//! Pending exports on their way out, and their confirmation.

use super::decode::{self, EXPORT, to_json};
use super::links::{key_row, names};
use super::session::{SqlEngine, count};
use super::spaces::{ids, watermark_statement};
use super::synchronisation::problem_statements;
use crate::identity::{ConnectorName, LeaseEpoch, Timestamp};
use crate::store::statement::{RowArgs, Statement, in_list, in_rows, insert, update};
use crate::sync::attribute::Attributes;
use crate::sync::connector::Watermark;
use crate::sync::guard::GuardLedgerEntry;
use crate::sync::space::{ExportKind, ExportState, LinkKey, LinkState, ObjectId, PendingExport, SpaceLink};
use crate::sync::store::{
    Confirmed, ExportOutcome, Exported, Exports, LinkChange, LinkEnd, Presence, Settlement, StoreResult,
};

/// Problems that belong to the last export of an object.
const OF_EXPORT: &str = "('export-refused', 'export-unanswered', 'export-warning', 'exported-change-not-reimported')";

/// Objects of targets that stay as they are: a rule towards the target failed, or one of a source said that the whole object
/// is left alone.
pub(super) const LEFT_ALONE: &str = "SELECT object FROM object_problem WHERE code IN ('flow-failed', 'sync-rule-error-function-triggered', \
     'flow-multi-values-to-single-value') \
     UNION SELECT t.id FROM object_problem p JOIN space_object s ON s.id = p.object JOIN space_object t ON t.mv = s.mv \
     WHERE p.code IN ('source-anchor-changed', 'sync-rule-error-function-triggered')";

#[async_trait::async_trait]
impl Exports for SqlEngine {
    async fn pending(
        &self,
        connector: &ConnectorName,
        kinds: &[ExportKind],
        after: ObjectId,
        limit: usize,
    ) -> StoreResult<Vec<PendingExport>> {
        let kinds = kinds.iter().map(|kind| format!("'{}'", kind.code())).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT {EXPORT} FROM pending_export WHERE connector = $1 AND object > $2 AND state IN ('pending', 'failed') \
             AND kind IN ({kinds}) ORDER BY object LIMIT $3"
        );
        let args = vec![connector.as_str().into(), after.0.into(), (limit as i64).into()];
        self.rows("reading pending exports", Statement::new(sql, args)).await?.iter().map(decode::export).collect()
    }

    async fn pending_links(
        &self,
        connector: &ConnectorName,
        after: Option<&LinkKey>,
        limit: usize,
    ) -> StoreResult<Vec<SpaceLink>> {
        let mut args = vec![(limit as i64).into()];
        let mut behind = "";
        if let Some(after) = after {
            args.extend(key_row(after));
            behind = "AND (l.owner, l.attribute, l.target) > ($2, $3, $4)";
        }
        let sql = format!(
            "SELECT l.owner, l.attribute, l.target, l.state FROM space_link l CROSS JOIN space_object o \
             WHERE o.id = l.owner AND l.state IN ('staged-add', 'staged-delete') AND o.connector IN ({}) {behind} \
             AND l.owner NOT IN ({LEFT_ALONE}) ORDER BY l.owner, l.attribute, l.target LIMIT $1",
            names(std::slice::from_ref(connector))
        );
        self.rows("reading pending links", Statement::new(sql, args)).await?.iter().map(decode::link).collect()
    }

    async fn record_sent(&self, epoch: LeaseEpoch, objects: &[ObjectId]) -> StoreResult<()> {
        let sql = "UPDATE pending_export SET state = 'sent', attempts = attempts + 1 WHERE object IN ({})";
        self.write(epoch, in_list(sql, &[], ids(objects))).await.map(drop)
    }

    async fn record_exported(
        &self,
        epoch: LeaseEpoch,
        results: Vec<Exported>,
        ledger: Vec<GuardLedgerEntry>,
    ) -> StoreResult<()> {
        self.write(epoch, exported_statements(results, ledger)?).await.map(drop)
    }

    async fn record_links(
        &self,
        epoch: LeaseEpoch,
        links: Vec<(LinkKey, LinkState)>,
        ledger: Vec<GuardLedgerEntry>,
    ) -> StoreResult<()> {
        let rows = links
            .iter()
            .map(|(key, state)| {
                let mut row = key_row(key);
                row.push(state.code().into());
                row
            })
            .collect();
        let mut statements = update("space_link", &["owner", "attribute", "target"], &["state"], rows);
        statements.extend(ledger_statements(ledger));
        self.write(epoch, statements).await.map(drop)
    }

    async fn doubt_sent(&self, epoch: LeaseEpoch, connector: &ConnectorName) -> StoreResult<i64> {
        let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM pending_export WHERE connector = $1 AND state = 'sent'";
        let sent =
            count(&self.rows("counting sent exports", Statement::new(sql, vec![connector.as_str().into()])).await?);
        if sent > 0 {
            let sql = "UPDATE pending_export SET state = 'in-doubt' WHERE connector = $1 AND state = 'sent'";
            self.write(epoch, vec![Statement::new(sql, vec![connector.as_str().into()])]).await?;
        }
        Ok(sent)
    }

    async fn in_doubt(&self, connector: &ConnectorName) -> StoreResult<Vec<PendingExport>> {
        let sql =
            format!("SELECT {EXPORT} FROM pending_export WHERE connector = $1 AND state = 'in-doubt' ORDER BY object");
        let rows = self.rows("reading exports in doubt", Statement::new(sql, vec![connector.as_str().into()])).await?;
        rows.iter().map(decode::export).collect()
    }

    async fn settle_doubt(
        &self,
        epoch: LeaseEpoch,
        settled: Vec<(ObjectId, Settlement)>,
        ledger: Vec<GuardLedgerEntry>,
    ) -> StoreResult<()> {
        let (mut results, mut again, mut unread, mut leaving) = (vec![], vec![], vec![], vec![]);
        let (mut anchors, mut unconfirmed_now, mut dropped, mut gone) = (vec![], vec![], vec![], vec![]);
        for (object, settlement) in settled {
            let outcome = match settlement {
                Settlement::Arrived { anchor, unconfirmed } => {
                    ExportOutcome::Accepted { anchor, unconfirmed, problem: None }
                }
                Settlement::Unanswered { problem, state } => {
                    unread.push(object);
                    ExportOutcome::Unanswered { problem, state }
                }
                Settlement::Again => {
                    again.push(vec![object.0.into(), ExportState::Pending.code().into()]);
                    continue;
                }
                Settlement::Unread => {
                    unread.push(object);
                    continue;
                }
                Settlement::Delete { anchor, unconfirmed } => {
                    anchors.push(vec![object.0.into(), Some(anchor).into()]);
                    if let Some(unconfirmed) = unconfirmed {
                        unconfirmed_now.push(vec![object.0.into(), Some(to_json(&unconfirmed)?).into()]);
                    }
                    leaving.push(object);
                    continue;
                }
                Settlement::Dropped { at_target } => {
                    dropped.push(object);
                    if at_target == Presence::Absent {
                        gone.push(object);
                    }
                    continue;
                }
            };
            results.push(Exported { object, outcome });
        }
        let mut statements = exported_statements(results, ledger)?;
        statements.extend(update("pending_export", &["object"], &["state"], again));
        let once_more = "UPDATE pending_export SET attempts = attempts + 1 WHERE object IN ({})";
        statements.extend(in_list(once_more, &[], ids(&unread)));
        statements.extend(update("space_object", &["id"], &["anchor"], anchors));
        statements.extend(update("space_object", &["id"], &["unconfirmed"], unconfirmed_now));
        let delete = "UPDATE pending_export SET kind = 'delete', changes = $1, state = 'pending', attempts = 0 \
                      WHERE object IN ({})";
        let nothing = to_json(&Attributes::new())?;
        statements.extend(in_list(delete, &[nothing.into()], ids(&leaving)));
        statements.extend(in_list("DELETE FROM pending_export WHERE object IN ({})", &[], ids(&dropped)));
        let left: Vec<ObjectId> = leaving.into_iter().chain(dropped).collect();
        statements.extend(in_list("UPDATE space_object SET joined_by = NULL WHERE id IN ({})", &[], ids(&left)));
        for sql in [
            "DELETE FROM space_link WHERE owner IN ({})",
            "DELETE FROM space_link WHERE target IN ({})",
            "DELETE FROM object_problem WHERE object IN ({})",
            "DELETE FROM space_object WHERE mv IS NULL AND id IN ({})",
        ] {
            statements.extend(in_list(sql, &[], ids(&gone)));
        }
        if statements.is_empty() {
            return Ok(());
        }
        self.write(epoch, statements).await.map(drop)
    }

    async fn confirm(
        &self,
        epoch: LeaseEpoch,
        confirmed: Vec<Confirmed>,
        watermark: Option<(ConnectorName, Watermark)>,
    ) -> StoreResult<()> {
        let mut statements = Vec::new();
        let (mut new, mut shown, mut due, mut changed, mut problems, mut all) =
            (vec![], vec![], vec![], vec![], vec![], vec![]);
        for Confirmed { object, links, problem, inserted } in confirmed {
            all.push(object.id);
            if let Some(problem) = problem {
                problems.push((object.id, problem));
            }
            if object.due {
                due.extend(object.mv);
            }
            let image = object.shown.as_deref().map(to_json).transpose()?;
            let unconfirmed = object.unconfirmed.as_ref().map(to_json).transpose()?;
            if inserted {
                new.push(vec![
                    object.id.0.into(),
                    object.connector.as_str().into(),
                    object.object_type.as_str().into(),
                    object.kind.code().into(),
                    object.anchor.into(),
                    object.rdn.into(),
                    image.into(),
                    "".into(),
                    "none".into(),
                    0.into(),
                    "[]".into(),
                    object.match_key.into(),
                    object.found_at.map(Timestamp::millis).into(),
                ]);
            } else {
                shown.push(vec![
                    object.id.0.into(),
                    object.anchor.into(),
                    image.into(),
                    unconfirmed.into(),
                    object.match_key.into(),
                    object.found_at.map(Timestamp::millis).into(),
                ]);
            }
            changed.extend(links);
        }
        statements.extend(insert(
            "space_object (id, connector, object_type, kind, anchor, rdn, shown, digest, pending_import, due, applied, match_key, \
             found_at)",
            new,
            "",
        ));
        let set = ["anchor", "shown", "unconfirmed", "match_key", "found_at"];
        statements.extend(update("space_object", &["id"], &set, shown));
        let old = "DELETE FROM object_problem WHERE code = 'exported-change-not-reimported' AND object IN ({})";
        statements.extend(in_list(old, &[], ids(&all)));
        statements.extend(problem_statements(&[], &problems));
        statements.extend(in_list(
            "UPDATE mv_object SET due = 1 WHERE due = 0 AND id IN ({})",
            &[],
            super::synchronisation::mv_ids(&due),
        ));
        statements.extend(confirmed_links(changed));
        if let Some((connector, watermark)) = watermark {
            statements.push(watermark_statement(&connector, watermark));
        }
        if statements.is_empty() {
            return Ok(());
        }
        self.write(epoch, statements).await.map(drop)
    }

    async fn link_ends(&self, wanted: &[ObjectId]) -> StoreResult<Vec<LinkEnd>> {
        let sql = "SELECT id, object_type, anchor, match_key, unconfirmed, CASE WHEN shown IS NULL THEN 0 ELSE 1 END \
                   AS is_shown FROM space_object WHERE id IN ({})";
        let rows = self.all_rows("reading the ends of links", in_list(sql, &[], ids(wanted))).await?;
        rows.iter().map(decode::link_end).collect()
    }

    async fn link_states(&self, links: &[LinkKey]) -> StoreResult<Vec<SpaceLink>> {
        let sql = "SELECT owner, attribute, target, state FROM space_link \
                   WHERE (owner, attribute, target) IN ({})";
        let rows = self.all_rows("reading links", in_rows(sql, &[], links.iter().map(key_row).collect())).await?;
        rows.iter().map(decode::link).collect()
    }

    async fn confirm_links(&self, epoch: LeaseEpoch, links: Vec<(LinkKey, LinkChange)>) -> StoreResult<()> {
        if links.is_empty() {
            return Ok(());
        }
        self.write(epoch, confirmed_links(links)).await.map(drop)
    }

    async fn confirm_gone(&self, epoch: LeaseEpoch, objects: &[ObjectId]) -> StoreResult<()> {
        let mut statements = Vec::new();
        for sql in [
            "UPDATE mv_object SET due = 1 WHERE id IN (SELECT mv FROM space_object WHERE mv IS NOT NULL AND id IN ({}))",
            "UPDATE mv_link SET due = 1 WHERE owner IN (SELECT mv FROM space_object WHERE mv IS NOT NULL AND id IN ({}))",
            "UPDATE mv_link SET due = 1 WHERE target IN (SELECT mv FROM space_object WHERE mv IS NOT NULL AND id IN ({}))",
            "DELETE FROM space_link WHERE owner IN ({})",
            "DELETE FROM space_link WHERE target IN ({})",
            // A staged add is what brings a returning object back; whatever else was staged has no object any more.
            "DELETE FROM pending_export WHERE kind <> 'add' AND object IN ({})",
            "DELETE FROM object_problem WHERE object IN ({})",
            "DELETE FROM space_object WHERE mv IS NULL AND id IN ({})",
            // Whoever made it: what comes after it is made by the export that stands there.
            "UPDATE space_object SET shown = NULL, unconfirmed = NULL, anchor = NULL, found_at = NULL WHERE id IN ({})",
        ] {
            statements.extend(in_list(sql, &[], ids(objects)));
        }
        self.write(epoch, statements).await.map(drop)
    }
}

/// Records what became of exports.
fn exported_statements(results: Vec<Exported>, ledger: Vec<GuardLedgerEntry>) -> StoreResult<Vec<Statement>> {
    let (mut accepted, mut failed, mut anchored, mut all) = (vec![], vec![], vec![], vec![]);
    let (mut unanswered, mut problems) = (vec![], vec![]);
    for Exported { object, outcome } in results {
        all.push(object);
        match outcome {
            ExportOutcome::Accepted { anchor, unconfirmed, problem } => {
                let mut row = vec![object.0.into(), Some(to_json(&unconfirmed)?).into()];
                match anchor {
                    Some(anchor) => {
                        row.push(Some(anchor).into());
                        anchored.push(row);
                    }
                    None => accepted.push(row),
                }
                problems.extend(problem.map(|problem| (object, problem)));
            }
            ExportOutcome::Failed { problem } => {
                failed.push(vec![object.0.into(), "failed".into(), Some(problem.detail.clone()).into(), 0.into()]);
                problems.push((object, problem));
            }
            ExportOutcome::Unanswered { problem, state } => {
                unanswered.push(vec![object.0.into(), state.code().into(), Some(problem.detail.clone()).into()]);
                problems.push((object, problem));
            }
        }
    }
    let done: Vec<_> = accepted.iter().chain(&anchored).filter_map(|row: &RowArgs| row.first().cloned()).collect();
    let mut statements = update("space_object", &["id"], &["unconfirmed"], accepted);
    statements.extend(update("space_object", &["id"], &["unconfirmed", "anchor"], anchored));
    // What was written back flows inbound from now on. Rows of targets have no digest.
    let due = "UPDATE space_object SET due = 1 WHERE digest <> '' AND id IN ({})";
    statements.extend(in_list(due, &[], done.clone()));
    statements.extend(in_list("DELETE FROM pending_export WHERE object IN ({})", &[], done));
    statements.extend(update("pending_export", &["object"], &["state", "error", "attempts"], failed));
    statements.extend(update("pending_export", &["object"], &["state", "error"], unanswered));
    let old = format!("DELETE FROM object_problem WHERE code IN {OF_EXPORT} AND object IN ({{}})");
    statements.extend(in_list(&old, &[], ids(&all)));
    statements.extend(problem_statements(&[], &problems));
    statements.extend(ledger_statements(ledger));
    Ok(statements)
}

fn confirmed_links(links: Vec<(LinkKey, LinkChange)>) -> Vec<Statement> {
    let (mut written, mut removed) = (Vec::<RowArgs>::new(), Vec::<RowArgs>::new());
    for (key, change) in links {
        let mut row = key_row(&key);
        let (state, due) = match change {
            LinkChange::Remove => {
                removed.push(row);
                continue;
            }
            LinkChange::Write(state) => (state, 0),
            LinkChange::Doubt(state) => (state, 1),
        };
        row.extend([state.code().into(), due.into()]);
        written.push(row);
    }
    let mut statements = insert(
        "space_link (owner, attribute, target, state, due)",
        written,
        "ON CONFLICT (owner, attribute, target) DO UPDATE SET state = excluded.state, due = excluded.due",
    );
    // What vanished at the target is put back when a metaverse link still wants it.
    let pairs_of = "UPDATE mv_link SET due = 1 WHERE (owner, target) IN (SELECT o.mv, t.mv FROM space_link l \
                    JOIN space_object o ON o.id = l.owner JOIN space_object t ON t.id = l.target \
                    WHERE (l.owner, l.attribute, l.target) IN ({}))";
    statements.extend(in_rows(pairs_of, &[], removed.clone()));
    statements.extend(in_rows("DELETE FROM space_link WHERE (owner, attribute, target) IN ({})", &[], removed));
    statements
}

/// The ledger's entries, and the end of the releases that they used up.
fn ledger_statements(ledger: Vec<GuardLedgerEntry>) -> Vec<Statement> {
    let (mut rows, mut used): (Vec<RowArgs>, Vec<RowArgs>) = (Vec::new(), Vec::new());
    for entry in ledger {
        let (target, kind) = (entry.target.as_str(), entry.kind.as_str());
        used.extend(entry.used.into_iter().map(|item| vec![target.into(), kind.into(), item.into()]));
        rows.push(vec![
            target.into(),
            kind.into(),
            entry.at.millis().into(),
            entry.count.into(),
            entry.released.into(),
        ]);
    }
    let mut statements = insert("guard_ledger (target, kind, at, count, released)", rows, "");
    let sql = "DELETE FROM guard_release WHERE (target, kind, item) IN ({})";
    statements.extend(in_rows(sql, &[], used));
    statements
}
