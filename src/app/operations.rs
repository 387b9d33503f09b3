//! The admin operations of a gateway, and the socket on which they are served.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alerts::AlertDesk;
use crate::config::AdminSettings;
use crate::issuer::Issuer;
use crate::signin::desk::SignInDesk;
use crate::store::AuditLog;
use crate::web::admin::AdminRoutes;
use crate::web::admin::alerts_status::AlertsStatus;
use crate::web::admin::alerts_test::AlertsTest;
use crate::web::admin::audit_tail::AuditTail;
use crate::web::admin::audit_verify::AuditVerify;
use crate::web::admin::client_add::ClientAdd;
use crate::web::admin::client_list::ClientList;
use crate::web::admin::directory_quarantine::DirectoryQuarantine;
use crate::web::admin::directory_quota::DirectoryQuota;
use crate::web::admin::domain_add::DomainAdd;
use crate::web::admin::domain_approve::DomainApprove;
use crate::web::admin::domain_cancel::DomainCancel;
use crate::web::admin::domain_changes::DomainChanges;
use crate::web::admin::domain_list::DomainList;
use crate::web::admin::domain_readiness::DomainReadiness;
use crate::web::admin::domain_rollback::DomainRollback;
use crate::web::admin::domain_set_failover::DomainSetFailover;
use crate::web::admin::domain_set_method::DomainSetMethod;
use crate::web::admin::domain_show::DomainShow;
use crate::web::admin::domain_verify::DomainVerify;
use crate::web::admin::domain_withdraw::DomainWithdraw;
use crate::web::admin::failover_drill::FailoverDrill;
use crate::web::admin::failover_force::FailoverForce;
use crate::web::admin::failover_release::FailoverRelease;
use crate::web::admin::failover_set_group::FailoverSetGroup;
use crate::web::admin::failover_status::ShowFailover;
use crate::web::admin::keys_retire_ring::KeysRetireRing;
use crate::web::admin::keys_ring::KeysRing;
use crate::web::admin::keys_roll_ring::KeysRollRing;
use crate::web::admin::keys_rotate::KeysRotate;
use crate::web::admin::lockout_report::LockoutReport;
use crate::web::admin::partner_add::PartnerAdd;
use crate::web::admin::partner_list::PartnerList;
use crate::web::admin::partner_refresh::PartnerRefresh;
use crate::web::admin::partners::Partners;
use crate::web::admin::password_sync_leaked::PasswordSyncLeaked;
use crate::web::admin::password_sync_run::PasswordSyncRun;
use crate::web::admin::password_sync_status::{PasswordDesk, PasswordSyncStatus};
use crate::web::admin::ring_desk::RingDesk;
use crate::web::admin::rollout_add::RolloutAdd;
use crate::web::admin::rollout_list::RolloutList;
use crate::web::admin::rollout_remove::RolloutRemove;
use crate::web::admin::tenant::Tenant;
use crate::web::admin::user_add::UserAdd;
use crate::web::admin::user_delete::UserDelete;
use crate::web::admin::user_list::UserList;
use crate::web::admin::user_revoke_sessions::UserRevokeSessions;
use crate::web::admin::user_set_privileged::UserSetPrivileged;
use crate::web::admin::user_show::UserShow;
use crate::web::admin::user_unlock::UserUnlock;
use crate::web::admin::user_wipe_credential::{CredentialDesk, UserWipeCredential};

/// Who carries admin operations out.
pub(super) struct Desks {
    pub tenant: Arc<Tenant>,
    pub audit: Arc<AuditLog>,
    pub alerts: Arc<AlertDesk>,
    pub sign_in: Arc<SignInDesk>,
    pub credentials: Arc<CredentialDesk>,
    pub issuer: Arc<Issuer>,
    pub ring: Arc<RingDesk>,
    pub partners: Arc<Partners>,
    pub passwords: Arc<PasswordDesk>,
}

impl Desks {
    pub fn operations(&self, routes: AdminRoutes) -> AdminRoutes {
        routes
            .with::<DomainAdd>(&self.tenant)
            .with::<DomainVerify>(&self.tenant)
            .with::<DomainWithdraw>(&self.tenant)
            .with::<DomainList>(&self.tenant)
            .with::<DomainShow>(&self.tenant)
            .with::<DirectoryQuota>(&self.tenant)
            .with::<DirectoryQuarantine>(&self.tenant)
            .with::<UserList>(&self.tenant)
            .with::<UserAdd>(&self.tenant)
            .with::<UserDelete>(&self.tenant)
            .with::<UserSetPrivileged>(&self.tenant)
            .with::<UserShow>(&self.tenant)
            .with::<AuditTail>(&self.audit)
            .with::<AuditVerify>(&self.audit)
            .with::<AlertsStatus>(&self.alerts)
            .with::<AlertsTest>(&self.alerts)
            .with::<LockoutReport>(&self.sign_in)
            .with::<UserUnlock>(&self.sign_in)
            .with::<UserRevokeSessions>(&self.sign_in)
            .with::<UserWipeCredential>(&self.credentials)
            .with::<DomainSetMethod>(&self.sign_in)
            .with::<DomainSetFailover>(&self.sign_in)
            .with::<DomainReadiness>(&self.sign_in)
            .with::<DomainChanges>(&self.sign_in)
            .with::<DomainApprove>(&self.sign_in)
            .with::<DomainCancel>(&self.sign_in)
            .with::<DomainRollback>(&self.sign_in)
            .with::<FailoverDrill>(&self.sign_in)
            .with::<RolloutAdd>(&self.sign_in)
            .with::<RolloutRemove>(&self.sign_in)
            .with::<RolloutList>(&self.sign_in)
            .with::<ShowFailover>(&self.sign_in)
            .with::<FailoverForce>(&self.sign_in)
            .with::<FailoverRelease>(&self.sign_in)
            .with::<FailoverSetGroup>(&self.sign_in)
            .with::<ClientAdd>(&self.issuer)
            .with::<ClientList>(&self.issuer)
            .with::<KeysRotate>(&self.issuer)
            .with::<KeysRing>(&self.ring)
            .with::<KeysRollRing>(&self.ring)
            .with::<KeysRetireRing>(&self.ring)
            .with::<PartnerAdd>(&self.partners)
            .with::<PartnerList>(&self.partners)
            .with::<PartnerRefresh>(&self.partners)
            .with::<PasswordSyncRun>(&self.passwords)
            .with::<PasswordSyncStatus>(&self.passwords)
            .with::<PasswordSyncLeaked>(&self.passwords)
    }
}

/// Serves operations on the admin socket until the gateway stops.
pub(super) fn serve(settings: &AdminSettings, routes: AdminRoutes, tasks: &TaskTracker, stop: &CancellationToken) {
    let (socket, principals) = (settings.socket.clone(), settings.principals.clone());
    let stop = stop.clone().cancelled_owned();
    tasks.spawn(async move {
        if let Err(error) = routes.serve(&socket, principals, stop).await {
            tracing::error!(%error, socket = %socket.display(), "the admin socket cannot be served");
        }
    });
}
