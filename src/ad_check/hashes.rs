//! Whether hashes can be read: the rights, and one hash by trying.

use drsr::{Account, Client, Controller, NtHash, ObjectName, Password, Replicated, ReplicationRight};
use uuid::Uuid;

use super::commands::{Grantee, Make};
use super::descriptor::Descriptor;
use super::report::{Area, Finding};
use super::token::Token;
use crate::config::{ConnectorSettings, ReplicationSettings, ReplicationSignIn};
use crate::identity::{DistinguishedName, causes};
use crate::ldap::RootDse;
use crate::password_sync::{replicating_controllers, replication_account, replication_remedy};

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

/// Connects to each controller as the channel does, and reads the account's own hash.
pub(super) async fn trial(
    settings: &ConnectorSettings,
    replication: &ReplicationSettings,
    server: &RootDse,
    (token, grantee): (&Token, &Grantee),
) -> Vec<Finding> {
    let controllers = match replicating_controllers(settings) {
        Ok(controllers) => controllers,
        Err(error) => return vec![Finding::missing(Area::Hashes, causes(&error))],
    };
    let account = replication_account(settings, replication);
    let mut findings = Vec::new();
    for controller in &controllers {
        let mut is_refused = false;
        findings.push(match own(controller, &account, token).await {
            Ok(Some(own)) => own_hash(&controller.host, &own.password, settings),
            Ok(None) => {
                let text = format!("{}: the account itself is not found by replication", controller.host);
                Finding::missing(Area::Hashes, text).remedy("check replication_account and replication_context")
            }
            Err(error) => {
                is_refused = matches!(error, drsr::Error::LogonFailure { .. });
                let by_kerberos = match error {
                    drsr::Error::LogonFailure { .. } if replication.sign_in == ReplicationSignIn::Ntlm => {
                        without_ntlm(settings, controller, server, (token, grantee)).await
                    }
                    _ => None,
                };
                by_kerberos.unwrap_or_else(|| {
                    Finding::missing(Area::Hashes, causes(&error))
                        .remedy(replication_remedy(&error, replication.sign_in))
                })
            }
        });
        // Each further try would count against the account.
        if is_refused {
            break;
        }
    }
    findings
}

/// The account as it is replicated to itself.
async fn own(
    controller: &Controller,
    account: &Account,
    token: &Token,
) -> Result<Option<drsr::AccountChange>, drsr::Error> {
    let mut client = Client::connect(controller, account).await?;
    let own = client.account(&ObjectName::Sid(token.account().clone())).await;
    client.close().await;
    own
}

/// LDAP admits the account and NTLM does not: whether the domain has put NTLM away, and keeps hashes at all. `None` when
/// Kerberos refuses it too.
async fn without_ntlm(
    settings: &ConnectorSettings,
    controller: &Controller,
    server: &RootDse,
    (token, grantee): (&Token, &Grantee),
) -> Option<Finding> {
    let (name, realm) = grantee.name.split_once('@')?;
    let host = server.host.clone()?;
    let address = tokio::net::lookup_host((controller.host.as_str(), controller.kerberos_port)).await.ok()?.next()?;
    let named = Controller { host: host.clone(), address: Some(address.ip()), ..controller.clone() };
    let password = Password::new(settings.bind_password.expose().to_owned());
    let shown = own(&named, &Account::kerberos(realm, name, password), token).await.ok()??;
    if !matches!(shown.password, Replicated::Set(..)) {
        return Some(own_hash(&controller.host, &shown.password, settings));
    }
    let text = format!("{} refuses NTLM, and admits {name} by Kerberos", controller.host);
    Some(Finding::missing(Area::Hashes, text).remedy(format!(
        "set replication_sign_in = \"kerberos\" and replication_domain = \"{realm}\", and name the controllers in servers \
         by their full names: {host}"
    )))
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
