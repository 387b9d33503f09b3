//! Applies an export batch in short transactions.

use std::collections::HashSet;

use async_trait::async_trait;
use uuid::Uuid;

use super::super::audit::AuditLog;
use super::super::error::StoreError;
use super::super::lease;
use super::super::statement::Statement;
use super::super::writer::Urgency;
use super::feed::Feed;
use super::links::{self, LinkDelta};
use super::load::{add_needs, read_set};
use super::store::{TenantOptions, TenantStore};
use super::write::write_plan;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{LeaseEpoch, Timestamp};
use crate::store::Connection;
use crate::tenant::export::MAX_BATCH;
use crate::tenant::matching::Draft;
use crate::tenant::pieces::pieces;
use crate::tenant::plan::{Plan, Touched, plan, plan_alone};
use crate::tenant::{Action, ExportChange, ExportResult, ExportWarning, ObjectId, TenantExport, TenantUnavailable};

/// Objects per transaction: together with their unique values and effects they stay within 20 ms (design D3).
pub(super) const PIECE: usize = 100;
/// Links per transaction.
const LINK_PIECE: usize = 500;

#[async_trait]
impl TenantExport for TenantStore {
    async fn apply_batch(
        &self,
        epoch: LeaseEpoch,
        changes: Vec<ExportChange>,
    ) -> Result<Vec<ExportResult>, TenantUnavailable> {
        if changes.len() > MAX_BATCH {
            return Err(TenantUnavailable::BatchTooLarge { len: changes.len() });
        }
        let applied = self.apply(epoch, changes).await;
        if applied.is_err() {
            // Parts that were written may be read back and taken for done: they, too, are to be on disk. Where this fails as
            // well, nothing can be read back.
            let _ = self.flush().await;
        }
        applied.map_err(unavailable)
    }
}

pub(super) fn unavailable(error: StoreError) -> TenantUnavailable {
    match error {
        StoreError::LeaseLost { epoch } => TenantUnavailable::LeaseLost { epoch },
        other => TenantUnavailable::Store(Box::new(other)),
    }
}

impl TenantStore {
    /// Returns when all that was written before is on disk.
    async fn flush(&self) -> Result<(), StoreError> {
        let touch = "UPDATE counter SET value = value WHERE name = 'change_feed'";
        self.db
            .write(Urgency::Bulk, move |conn| {
                Box::pin(async move {
                    conn.rows("writing out an export", vec![Statement::new(touch, Vec::new())]).await.map(drop)
                })
            })
            .await
    }

    async fn apply(&self, epoch: LeaseEpoch, changes: Vec<ExportChange>) -> Result<Vec<ExportResult>, StoreError> {
        let now = self.clock.now();
        let order = {
            let mut conn = self.db.reader("reading for an export").await?;
            let read = read_set(&mut conn, &changes, &[], self.options).await?;
            pieces(&changes, &read, now, PIECE)
        };
        let mut deltas: Vec<Vec<(String, bool)>> = changes.iter().map(link_deltas).collect();
        let mut slots: Vec<Option<ExportChange>> = changes.into_iter().map(Some).collect();
        let mut results: Vec<Option<ExportResult>> = slots.iter().map(|_| None).collect();
        let last = order.len().saturating_sub(1);
        for (place, piece) in order.into_iter().enumerate() {
            let part: Vec<ExportChange> = piece.iter().filter_map(|index| slots[*index].take()).collect();
            let (judged, _) = self.apply_piece(urgency(place, last), Some(epoch), part, Touched::nothing()).await?;
            for (index, result) in piece.into_iter().zip(judged) {
                results[index] = Some(result);
            }
        }
        let mut results: Vec<ExportResult> =
            results.into_iter().map(|result| result.expect("each change is in one piece")).collect();
        self.apply_links(epoch, &mut results, &mut deltas).await?;
        Ok(results)
    }

    /// Judges objects anew, in a transaction of its own.
    pub(super) async fn judge_piece(&self, touched: Touched) -> Result<Vec<ExportWarning>, StoreError> {
        let (_, warnings) = self.apply_piece(Urgency::Bulk, None, Vec::new(), touched).await?;
        Ok(warnings)
    }

    /// Judges and writes one piece, and `touched`, in a transaction of its own.
    async fn apply_piece(
        &self,
        urgency: Urgency,
        epoch: Option<LeaseEpoch>,
        changes: Vec<ExportChange>,
        touched: Touched,
    ) -> Result<(Vec<ExportResult>, Vec<ExportWarning>), StoreError> {
        let (now, options, audit) = (self.clock.now(), self.options, self.audit.clone());
        self.db
            .write(urgency, move |conn| {
                Box::pin(async move {
                    let judged =
                        judge_and_write(conn, epoch, &changes, &touched, (now, options, audit.as_ref())).await?;
                    if let Some(audit) = &audit {
                        tell_matches(conn, audit, &changes, &judged.0).await?;
                    }
                    Ok::<_, StoreError>(judged)
                })
            })
            .await
    }

    /// Applies the link deltas of accepted groups, and notes in the results which members wait.
    async fn apply_links(
        &self,
        epoch: LeaseEpoch,
        results: &mut [ExportResult],
        deltas: &mut [Vec<(String, bool)>],
    ) -> Result<(), StoreError> {
        let mut links = Vec::new();
        for (index, (result, deltas)) in results.iter().zip(deltas).enumerate() {
            if let Ok(accepted) = result
                && let ObjectId::Group(group) = accepted.oid
            {
                let of_group = std::mem::take(deltas).into_iter();
                links.extend(of_group.map(|(member, adds)| (index, LinkDelta { group, member, adds })));
            }
        }
        let last = links.len().div_ceil(LINK_PIECE).saturating_sub(1);
        for (place, piece) in links.chunks(LINK_PIECE).enumerate() {
            let now = self.clock.now();
            let part: Vec<LinkDelta> = piece.iter().map(|(_, delta)| delta.clone()).collect();
            let waiting = self
                .db
                .write(urgency(place, last), move |conn| {
                    Box::pin(async move {
                        lease::check_epoch(conn, epoch).await?;
                        let mut feed = Feed::lock(conn, now).await?;
                        let waiting = links::apply(conn, &mut feed, &part).await?;
                        feed.close(conn).await?;
                        Ok::<_, StoreError>(waiting)
                    })
                })
                .await?;
            for delta in waiting {
                let place = piece.iter().find(|(_, asked)| asked.group == delta.group).map(|(index, _)| *index);
                if let Some(Ok(accepted)) = place.map(|index| &mut results[index]) {
                    accepted.members_waiting.push(delta.member);
                }
            }
        }
        Ok(())
    }
}

/// A batch is answered as a whole: its last piece waits for the disk, and takes those before it along.
fn urgency(place: usize, last: usize) -> Urgency {
    if place == last { Urgency::Bulk } else { Urgency::Part }
}

/// Removals first, so that a member that is in both lists stays.
fn link_deltas(change: &ExportChange) -> Vec<(String, bool)> {
    match &change.action {
        Action::PutGroup(patch) => {
            let added: HashSet<&String> = patch.members_added.iter().collect();
            let removed = patch.members_removed.iter().filter(|member| !added.contains(member));
            let removed = removed.map(|member| (member.clone(), false));
            removed.chain(patch.members_added.iter().map(|member| (member.clone(), true))).collect()
        }
        Action::PutUser(_)
        | Action::DeleteUser
        | Action::DeleteGroup
        | Action::PutPlain(..)
        | Action::DeletePlain(_) => Vec::new(),
    }
}

async fn judge_and_write(
    conn: &mut Connection,
    epoch: Option<LeaseEpoch>,
    changes: &[ExportChange],
    touched: &Touched,
    (now, options, audit): (Timestamp, TenantOptions, Option<&AuditLog>),
) -> Result<(Vec<ExportResult>, Vec<ExportWarning>), StoreError> {
    if let Some(epoch) = epoch {
        lease::check_epoch(conn, epoch).await?;
    }
    let feed = Feed::lock(conn, now).await?;
    let mut read = read_set(conn, changes, touched.objects(), options).await?;
    // Each round knows more values than the one before, so it ends.
    let plan = loop {
        match plan(changes, touched, &read, now, &mut Uuid::new_v4) {
            Ok(plan) => break plan,
            Err(needs) => add_needs(conn, &mut read, needs).await?,
        }
    };
    write_whole(conn, feed, &plan, (now, options, audit)).await?;
    Ok((plan.results, plan.recalculated))
}

/// Judges and writes one object of the cloud.
pub(super) async fn write_alone(
    conn: &mut Connection,
    draft: Draft,
    now: Timestamp,
    options: TenantOptions,
) -> Result<ExportResult, StoreError> {
    let feed = Feed::lock(conn, now).await?;
    let mut read = read_set(conn, &[], &[], options).await?;
    let mut plan = loop {
        match plan_alone(draft.clone(), &read, now) {
            Ok(plan) => break plan,
            Err(needs) => add_needs(conn, &mut read, needs).await?,
        }
    };
    // Of such an object no credential is wiped: it has none.
    write_whole(conn, feed, &plan, (now, options, None)).await?;
    Ok(plan.results.remove(0))
}

async fn write_whole(
    conn: &mut Connection,
    mut feed: Feed,
    plan: &Plan,
    (now, options, audit): (Timestamp, TenantOptions, Option<&AuditLog>),
) -> Result<(), StoreError> {
    let wiped = write_plan(conn, &mut feed, plan, now, options.alternate_login_id).await?;
    links::join_waiting(conn, plan).await?;
    feed.close(conn).await?;
    // Records come last: sign-ins write theirs, too, after the rows that they lock.
    if let (Some(audit), Some(event)) = (audit, wiped) {
        audit.append(conn, event).await?;
    }
    Ok(())
}

/// Writes down whom a directory took over, in the transaction in which it does.
async fn tell_matches(
    conn: &mut Connection,
    audit: &AuditLog,
    changes: &[ExportChange],
    results: &[ExportResult],
) -> Result<(), StoreError> {
    for (change, result) in changes.iter().zip(results) {
        let Ok(accepted) = result else { continue };
        for warning in &accepted.warnings {
            let ExportWarning::TookOver { by } = warning else { continue };
            let event = Event::new(EventKind::ObjectMatched, Outcome::Success, Actor::System("export".to_owned()))
                .about(accepted.oid)
                .because(by.as_str())
                .with("connector", change.anchor_connector.as_str())
                .with("source_anchor", change.object.source_anchor.as_str());
            audit.append(conn, event).await?;
        }
    }
    Ok(())
}
