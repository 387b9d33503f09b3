//! The admin API (design D2): operations that CLI and portal call, authorised, audited and the same everywhere.
//!
//! An operation is one file here: its request, its response, the right it needs, and `run`. The route is
//! `POST /admin/v1/NAME` with a JSON body. [`operation`] authorises before and audits around every run.

mod agent_desk;
pub mod agents_drain;
pub mod agents_list;
pub mod agents_revoke;
pub mod agents_test;
pub mod agents_token;
pub mod audit_tail;
pub mod audit_verify;
pub mod client_add;
pub mod client_list;
pub mod connector_remove;
pub mod directory_quota;
pub mod domain_add;
pub mod domain_list;
pub mod domain_set_failover;
pub mod domain_set_method;
pub mod domain_show;
pub mod domain_verify;
mod error;
pub mod failover_force;
pub mod failover_release;
pub mod failover_status;
pub mod guard_release;
pub mod guard_show;
pub mod keys_ring;
pub mod keys_roll_ring;
pub mod keys_rotate;
pub mod lockout_report;
mod operation;
pub mod partner_add;
pub mod partner_list;
pub mod partners;
pub mod password_sync_run;
pub mod password_sync_status;
pub mod ring_desk;
pub mod rules_activate;
mod sign_in_desk;
mod socket;
pub mod sync_anchor_migrate;
pub mod sync_cancel;
pub mod sync_desk;
pub mod sync_preview;
pub mod sync_progress;
pub mod sync_resume;
pub mod sync_run;
pub mod sync_runs;
pub mod sync_status;
pub mod sync_suspend;
pub mod tenant;
pub mod user_add;
pub mod user_delete;
pub mod user_list;
pub mod user_revoke_sessions;
pub mod user_set_privileged;
pub mod user_show;
pub mod user_unlock;
pub mod user_wipe_credential;

pub use crate::identity::{Right, Role};
pub use error::{Kind, OperationError};
pub use operation::{AdminSession, Operation, call};
pub use socket::AdminRoutes;
