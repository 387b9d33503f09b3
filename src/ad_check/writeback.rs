//! Whether attributes can be written back, as the directory itself tells it of one person.

use uuid::Uuid;

use super::commands::{Grantee, Make};
use super::report::{Area, Finding};
use crate::config::ConnectorSettings;
use crate::identity::DistinguishedName;
use crate::ldap::{Connection, Entry, Filter, LdapError, Scope, Search};

/// What the account may write of an object (MS-ADTS, section 3.1.1.4.5.7).
const EFFECTIVE: &str = "allowedAttributesEffective";
/// Attributes beyond what is configured that are told by name.
const TOLD: usize = 5;

/// Looks at one person below each base.
pub(super) async fn writeback(
    connection: &mut Connection,
    settings: &ConnectorSettings,
    schema: Option<&DistinguishedName>,
    (make, grantee): (Make, &Grantee),
) -> Result<Vec<Finding>, LdapError> {
    let wanted: &[String] = settings.scope.export.as_ref().map_or(&[], |export| &export.attributes);
    let mut findings = Vec::new();
    for base in &settings.scope.bases {
        let Some(person) = someone(connection, settings, base).await? else {
            if !wanted.is_empty() {
                let text = format!("nobody is visible below {base}, so what may be written there cannot be told");
                findings.push(Finding::warning(Area::Writeback, text));
            }
            continue;
        };
        let is_wanted = |name: &str| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        let allowed: Vec<&str> = person.texts(&EFFECTIVE.to_ascii_lowercase()).collect();
        for attribute in wanted {
            if allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(attribute)) {
                findings
                    .push(Finding::good(Area::Writeback, format!("the account may write {attribute} below {base}")));
                continue;
            }
            let id = schema_id(connection, schema, attribute).await?;
            findings.push(
                Finding::missing(Area::Writeback, format!("the account may not write {attribute} of {}", person.dn))
                    .remedy(format!("grant writing this one attribute of users below {base}"))
                    .by(make.write(grantee, base, attribute, id)),
            );
        }
        let surplus: Vec<&str> = allowed.iter().copied().filter(|name| !is_wanted(name)).collect();
        if !surplus.is_empty() {
            let some = surplus.iter().take(TOLD).copied().collect::<Vec<_>>().join(", ");
            let text = format!(
                "the account may write {} attributes of {} that nothing is configured to write: {some}{}",
                surplus.len(),
                person.dn,
                if surplus.len() > TOLD { " ..." } else { "" }
            );
            findings.push(
                Finding::warning(Area::Privileges, text).remedy("take away what no `export` of the connector lists"),
            );
        }
    }
    Ok(findings)
}

/// A person below `base` other than the account itself, which may always write some of its own.
async fn someone(
    connection: &mut Connection,
    settings: &ConnectorSettings,
    base: &DistinguishedName,
) -> Result<Option<Entry>, LdapError> {
    let people = Filter::and([
        Filter::equal("objectClass", &settings.scope.classes.user),
        Filter::not(Filter::equal("distinguishedName", settings.bind_dn.as_str())),
    ]);
    let search =
        Search { base: base.clone(), scope: Scope::Subtree, filter: people, attributes: vec!["cn".to_owned()] };
    let found = match connection.search_paged(search, 1).next_page().await {
        Ok(page) => page.and_then(|page| page.entries.into_iter().next()),
        Err(LdapError::SearchRefused { .. }) => None,
        Err(error) => return Err(error),
    };
    let Some(person) = found else { return Ok(None) };
    connection.read(&person.dn, vec![EFFECTIVE.to_owned()]).await
}

/// The id by which access lists name an attribute.
async fn schema_id(
    connection: &mut Connection,
    schema: Option<&DistinguishedName>,
    attribute: &str,
) -> Result<Option<Uuid>, LdapError> {
    let Some(schema) = schema else { return Ok(None) };
    let search = Search {
        base: schema.clone(),
        scope: Scope::OneLevel,
        filter: Filter::equal("lDAPDisplayName", attribute),
        attributes: vec!["schemaIDGUID".to_owned()],
    };
    let found = connection.search(search).await?;
    let bytes = found.first().and_then(|entry| entry.bytes("schemaidguid"));
    Ok(bytes.and_then(|bytes| Uuid::from_slice_le(bytes).ok()))
}
