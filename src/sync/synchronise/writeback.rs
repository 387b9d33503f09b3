//! Writeback: what outbound rules have to say of the objects of a source that takes updates.
//!
//! The link is the one that inbound rules made: nothing is joined, provisioned or deleted here. Only attributes of which a
//! rule in scope speaks are compared, since everything else belongs to the source.

use std::collections::BTreeSet;

use super::outbound::{decided, desired, differences, in_flight, scopes};
use crate::sync::attribute::Attribute;
use crate::sync::metaverse::{MvId, MvObject};
use crate::sync::problem::Problem;
use crate::sync::rule::{Flow, FlowKind, RuleSet};
use crate::sync::space::{ExportKind, ObjectKind, PendingExport, PendingImport, SpaceObject};
use crate::sync::trace::TargetDecision;
use crate::sync::workspace::Workspace;

/// Brings the staged updates of the source objects of a metaverse object to what the rules want.
pub fn stage(ws: &mut Workspace, rules: &RuleSet, mv: MvId) {
    let Some(object) = ws.mv(mv).cloned() else { return };
    for connector in rules.written_back() {
        for id in ws.members(mv) {
            let Some(member) = ws.object(id).filter(|member| member.connector == *connector).cloned() else { continue };
            if member.kind == ObjectKind::Object && member.pending_import != PendingImport::Delete {
                write_back(ws, rules, member, &object);
            }
        }
    }
}

fn write_back(ws: &mut Workspace, rules: &RuleSet, member: SpaceObject, object: &MvObject) {
    if in_flight(ws, member.id) {
        // The answer of an earlier export is not known: decided again once it was read back.
        if let Some(mv) = ws.mv_mut(object.id) {
            mv.due = true;
        }
        return;
    }
    let Some(held) = member.effective() else { return };
    ws.trace.note_all(|| scopes(rules, &member.connector, object));
    decided(ws, object.id, &member.connector, || TargetDecision::WrittenBack { object: member.id });
    let changes = match desired(rules, &member.connector, &member.object_type, object, &mut ws.trace) {
        Ok(wanted) => {
            let spoken = spoken(rules, &member, object);
            differences(rules, &member.connector, held, wanted, spoken.into_iter())
        }
        // No other attribute of the object is exported either: what is doubtful is left alone.
        Err(error) => {
            ws.add_problem(member.id, Problem::of_flow(&error));
            Default::default()
        }
    };
    if changes.is_empty() {
        ws.unstage(member.id);
        return;
    }
    match ws.staged(member.id) {
        // The same change keeps its history of attempts.
        Some(staged) if staged.changes == changes => {}
        _ => ws.stage(PendingExport::staged(member.id, member.connector, ExportKind::Update, changes)),
    }
}

/// What the rules in scope speak of, whether they have a value or not.
fn spoken<'r>(rules: &'r RuleSet, member: &'r SpaceObject, object: &'r MvObject) -> BTreeSet<&'r Attribute> {
    let in_scope = rules.outbound(&member.connector, object).filter(|rule| rule.space_type == member.object_type);
    let lasting = |flow: &&Flow| !flow.apply_once && !matches!(flow.kind, FlowKind::Reference { .. });
    in_scope.flat_map(|rule| &rule.flows).filter(lasting).map(|flow| &flow.target).collect()
}
