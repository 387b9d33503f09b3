//! The schema of a directory, read as the connector would read the rest.

use super::comparison::compare;
use super::subject::Subject;
use crate::ad_check::{Area, Finding, Report};
use crate::identity::causes;
use crate::ldap::{Connection, LdapError, Schema, ServerUrl, Trust};
use crate::sync::rule::RuleSet;

/// Reads the schema of the first server that answers, and tells how what is named fits it.
pub async fn examine(subject: &Subject, rules: &RuleSet) -> Report {
    let findings = match schema(subject).await {
        Ok((server, schema)) if schema.is_empty() => {
            let text = format!("{server} does not show its schema to {}", subject.account.dn);
            vec![Finding::warning(Area::Schema, text).remedy("let the account read the entry of subschemaSubentry")]
        }
        Ok((_, schema)) => compare(subject, rules, &schema),
        Err(text) => vec![Finding::missing(Area::Connection, text)],
    };
    Report { connector: subject.name.clone(), findings }
}

async fn schema(subject: &Subject) -> Result<(ServerUrl, Schema), String> {
    let trust = Trust::new(subject.ca_file.as_slice()).map_err(|error| causes(&error))?;
    let mut failures = Vec::new();
    for server in &subject.servers {
        let url: ServerUrl = match server.parse() {
            Ok(url) => url,
            Err(error) => {
                failures.push(format!("{server}: {}", causes(&error)));
                continue;
            }
        };
        let read = async {
            let mut connection = Connection::open(&url, &trust, subject.deadline).await?;
            connection.bind(&subject.account).await?;
            let server = connection.root_dse().await?;
            match &server.subschema {
                Some(subschema) => connection.schema(subschema).await,
                None => Ok(Schema::default()),
            }
        };
        match read.await {
            Ok(schema) => return Ok((url, schema)),
            // Access to the entry is refused: it is not shown.
            Err(LdapError::SearchRefused { .. }) => return Ok((url, Schema::default())),
            Err(error) => failures.push(causes(&error)),
        }
    }
    Err(failures.join("; "))
}
