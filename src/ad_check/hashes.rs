//! Whether hashes can be read: the rights, and one hash by trying.

use drsr::{Client, NtHash, ObjectName, Password, Replicated, ReplicationRight};
use uuid::Uuid;

use super::commands::{Grantee, Make};
use super::descriptor::Descriptor;
use super::report::{Area, Finding};
use super::token::Token;
use crate::config::{ConnectorSettings, ReplicationSettings, ReplicationSignIn};
use crate::identity::{DistinguishedName, causes};
use crate::password_sync::{replicating_controllers, replication_account};

const RIGHTS: [ReplicationRight; 2] = [ReplicationRight::GetChanges, ReplicationRight::GetChangesAll];

/// The rights as the domain's access list has them.
pub(super) fn rights(
    descriptor: &Descriptor,
    token: &Token,
    is_configured: bool,
    domain: &DistinguishedName,
    (make, grantee): (Make, &Grantee),
) -> Vec<Finding> {
    let granted = |right: ReplicationRight| descriptor.grants(token, id(right));
    if !is_configured {
        // To learn changes the first of the two is enough; the second reads every password hash.
        let surplus = granted(ReplicationRight::GetChangesAll).then(|| {
            Finding::warning(Area::Privileges, format!("the account has {}, and no hashes are configured", RIGHTS[1]))
                .remedy("take the right away, or set replication_account")
        });
        return surplus.into_iter().collect();
    }
    let finding = |right: ReplicationRight| match granted(right) {
        true => Finding::good(Area::Hashes, format!("the account has {right} on {domain}")),
        false => Finding::missing(Area::Hashes, format!("the account lacks {right} on {domain}"))
            .remedy("grant it on the head of the domain")
            .by(make.replicate(grantee, domain, right)),
    };
    RIGHTS.map(finding).into()
}

/// Whether the account may ask for changes by DirSync.
pub(super) fn dir_sync(
    descriptor: &Descriptor,
    token: &Token,
    domain: &DistinguishedName,
    (make, grantee): (Make, &Grantee),
) -> Finding {
    let right = ReplicationRight::GetChanges;
    if descriptor.grants(token, id(right)) {
        return Finding::good(Area::Import, format!("the account has {right} on {domain}: changes come by DirSync"));
    }
    Finding::warning(
        Area::Import,
        format!("the account lacks {right} on {domain}: changes are found by uSNChanged instead"),
    )
    .remedy("grant it, for deltas that read less")
    .by(make.replicate(grantee, domain, right))
}

fn id(right: ReplicationRight) -> Uuid {
    right.guid().parse().expect("the protocol's own ids are ids")
}

/// Connects to each controller as the channel does, and reads the account's own hash at the first that lets it.
pub(super) async fn trial(
    settings: &ConnectorSettings,
    replication: &ReplicationSettings,
    token: &Token,
) -> Vec<Finding> {
    let controllers = match replicating_controllers(settings) {
        Ok(controllers) => controllers,
        Err(error) => return vec![Finding::missing(Area::Hashes, causes(&error))],
    };
    let account = replication_account(settings, replication);
    let mut findings = Vec::new();
    for controller in &controllers {
        let tried = async {
            let mut client = Client::connect(controller, &account).await?;
            let own = client.account(&ObjectName::Sid(token.account().clone())).await;
            client.close().await;
            own
        };
        findings.push(match tried.await {
            Ok(Some(own)) => own_hash(&controller.host, &own.password, settings),
            Ok(None) => {
                let text = format!("{}: the account itself is not found by replication", controller.host);
                Finding::missing(Area::Hashes, text).remedy("check replication_account and replication_context")
            }
            Err(error @ drsr::Error::LogonFailure { .. }) if replication.sign_in == ReplicationSignIn::Ntlm => {
                Finding::missing(Area::Hashes, causes(&error)).remedy(
                    "the same password may be good over LDAP: then check replication_domain and replication_account, and \
                     whether the domain admits NTLM. A Samba with `nt hash store = never` does not, and keeps no hashes to read",
                )
            }
            Err(error) => Finding::missing(Area::Hashes, causes(&error)).remedy(error.remedy()),
        });
    }
    findings
}

fn own_hash(controller: &str, password: &Replicated<NtHash>, settings: &ConnectorSettings) -> Finding {
    let right = NtHash::of(&Password::new(settings.bind_password.expose().to_owned()));
    match password {
        Replicated::Set(hash, _) if hash.expose() == right.expose() => {
            Finding::good(Area::Hashes, format!("{controller}: the account's own hash was read, and it is its password's"))
        }
        Replicated::Set(..) => {
            Finding::missing(Area::Hashes, format!("{controller}: the hash that was read is of another password"))
                .remedy("the controller may lag behind a change of the account's password; wait for replication, then check again")
        }
        Replicated::NotSent | Replicated::Cleared(_) => {
            Finding::missing(Area::Hashes, format!("{controller}: the directory keeps no NT hash of the account"))
                .remedy("on Samba set `nt hash store = always` on every controller, then let people set their passwords; until then use pass-through")
        }
        Replicated::Unreadable(reason, _) => {
            Finding::missing(Area::Hashes, format!("{controller}: the account's own hash cannot be read: {reason}"))
                .remedy("report it as a fault, with the make and version of the controller")
        }
    }
}
