//! One connector from end to end.

use std::time::Duration;

use drsr::SecurityId;

use super::commands::{Grantee, Make};
use super::descriptor::Descriptor;
use super::report::{Area, Finding, Report};
use super::token::Token;
use super::{hashes, writeback};
use crate::config::{ConnectorSettings, ReplicationSignIn};
use crate::identity::{Clock, DistinguishedName, causes};
use crate::ldap::{Connection, LdapError, RootDse, ServerUrl, ServiceAccount, Trust};

/// The most that Kerberos admits (RFC 4120, section 10.3, and its default in Active Directory).
const MOST_SKEW: Duration = Duration::from_secs(300);
/// Worth telling: on the way to trouble.
const MUCH_SKEW: Duration = Duration::from_secs(60);

/// Looks at the directory of a connector with `dialect = "ad"`. Changes nothing there.
pub async fn examine(settings: &ConnectorSettings, clock: &dyn Clock) -> Report {
    let mut findings = Vec::new();
    if let Some((mut connection, server)) = connect(settings, clock, &mut findings).await
        && let Err(error) = look(&mut connection, &server, settings, &mut findings).await
    {
        findings.push(Finding::missing(Area::Connection, causes(&error)).remedy(error.remedy()));
    }
    Report { connector: settings.name.clone(), findings }
}

/// Tries every server; goes on with the first that serves.
async fn connect(
    settings: &ConnectorSettings,
    clock: &dyn Clock,
    findings: &mut Vec<Finding>,
) -> Option<(Connection, RootDse)> {
    let trust = match Trust::new(settings.ca_file.as_slice()) {
        Ok(trust) => trust,
        Err(error) => {
            findings.push(Finding::missing(Area::Connection, causes(&error)).remedy("correct ca_file"));
            return None;
        }
    };
    let account = ServiceAccount { dn: settings.bind_dn.clone(), password: settings.bind_password.clone() };
    let mut first = None;
    for server in &settings.servers {
        let url: ServerUrl = match server.parse() {
            Ok(url) => url,
            Err(error) => {
                findings.push(Finding::missing(Area::Connection, format!("{server}: {}", causes(&error))));
                continue;
            }
        };
        let opened = async {
            let mut connection = Connection::open(&url, &trust, settings.connect_deadline).await?;
            connection.bind(&account).await?;
            let dse = connection.root_dse().await?;
            Ok::<_, LdapError>((connection, dse))
        };
        match opened.await {
            Ok((_, dse)) if !dse.is_active_directory() => {
                let text = format!("{url} is no controller of Active Directory");
                findings.push(Finding::missing(Area::Connection, text).remedy("correct servers, or dialect"));
            }
            Ok((connection, dse)) => {
                findings.push(Finding::good(Area::Connection, format!("{url} admits {}", account.dn)));
                findings.extend(skew(&url, &dse, settings, clock));
                first.get_or_insert((connection, dse));
            }
            Err(error) => findings.push(Finding::missing(Area::Connection, causes(&error)).remedy(error.remedy())),
        }
    }
    first
}

fn skew(url: &ServerUrl, dse: &RootDse, settings: &ConnectorSettings, clock: &dyn Clock) -> Option<Finding> {
    let (here, there) = (clock.now(), dse.now?);
    let apart = here.since(there).max(there.since(here));
    let text = format!("the clock of {url} and the one here are {} s apart", apart.as_secs());
    let remedy = "set both clocks by one time source";
    let by_kerberos =
        settings.replication.as_ref().is_some_and(|replication| replication.sign_in == ReplicationSignIn::Kerberos);
    if apart > MOST_SKEW && by_kerberos {
        return Some(Finding::missing(Area::Clock, text).remedy(format!("{remedy}; Kerberos admits five minutes")));
    }
    (apart > MUCH_SKEW).then(|| Finding::warning(Area::Clock, text).remedy(remedy))
}

async fn look(
    connection: &mut Connection,
    server: &RootDse,
    settings: &ConnectorSettings,
    findings: &mut Vec<Finding>,
) -> Result<(), LdapError> {
    for base in &settings.scope.bases {
        findings.push(match connection.read(base, vec!["objectClass".to_owned()]).await {
            Ok(Some(_)) => Finding::good(Area::Import, format!("{base} can be read")),
            Ok(None) | Err(LdapError::SearchRefused { .. }) => {
                Finding::missing(Area::Import, format!("{base} cannot be read, or is not there"))
                    .remedy("correct bases, or let the account read the container")
            }
            Err(error) => return Err(error),
        });
    }
    let Some(domain) = &server.domain else {
        let text = "the controller does not name its domain".to_owned();
        findings.push(Finding::missing(Area::Connection, text).remedy("name a controller, and no global catalogue"));
        return Ok(());
    };
    let Some((token, grantee)) = token(connection, settings, domain).await? else {
        let text = format!("{} cannot read its own identifier and groups", settings.bind_dn);
        findings.push(Finding::missing(Area::Connection, text).remedy("let the account read its own entry"));
        return Ok(());
    };
    let means = (Make::of(&server.vendor), &grantee);
    findings.push(match connection.sees_deleted(domain).await? {
        true => Finding::good(Area::Import, "deleted objects can be seen"),
        false => Finding::missing(Area::Import, "deleted objects cannot be seen: deltas leave deletes out in silence")
            .remedy(format!(
                "let the account read CN=Deleted Objects,{domain}; until then full imports alone find deletes"
            ))
            .by(means.0.read_deleted(&grantee, domain)),
    });
    match connection.descriptor(domain).await?.as_deref().and_then(Descriptor::read) {
        Some(descriptor) => {
            findings.push(hashes::dir_sync(&descriptor, &token, domain, means));
            findings.extend(hashes::rights(&descriptor, &token, settings.replication.is_some(), domain, means));
            findings.extend(descriptor.altering(&token).map(|trustee| {
                Finding::warning(
                    Area::Privileges,
                    format!("the account may alter {domain} itself, by way of {trustee}"),
                )
                .remedy("remove that entry of the access list")
            }));
        }
        None => findings.push(Finding::warning(
            Area::Privileges,
            format!("the account cannot read who may do what to {domain}; rights are told by trying alone"),
        )),
    }
    if let Some(replication) = &settings.replication {
        findings.extend(hashes::trial(settings, replication, server, (&token, &grantee)).await);
    }
    findings.extend(writeback::writeback(connection, settings, server.schema_context.as_ref(), means).await?);
    findings.extend(token.mighty().into_iter().map(|group| {
        Finding::warning(Area::Privileges, format!("the account is a member of {group}"))
            .remedy("take it out: none of what the gateway does needs a membership")
    }));
    Ok(())
}

/// Who the account is to the directory.
async fn token(
    connection: &mut Connection,
    settings: &ConnectorSettings,
    domain: &DistinguishedName,
) -> Result<Option<(Token, Grantee)>, LdapError> {
    let attributes = ["objectSid", "sAMAccountName", "tokenGroups"].map(str::to_owned).to_vec();
    let Some(entry) = connection.read(&settings.bind_dn, attributes).await? else { return Ok(None) };
    let sid = entry.bytes("objectsid").and_then(|bytes| SecurityId::from_bytes(bytes).ok());
    let (Some(sid), Some(name)) = (sid, entry.text("samaccountname")) else { return Ok(None) };
    let groups = entry.values("tokengroups").iter().filter_map(|bytes| SecurityId::from_bytes(bytes).ok()).collect();
    let parts = domain.as_str().split(',').filter_map(|part| part.split_once('=')).map(|(_, label)| label.trim());
    let name = format!("{name}@{}", parts.collect::<Vec<_>>().join("."));
    Ok(Some((Token::new(sid.clone(), groups), Grantee { name, sid })))
}
