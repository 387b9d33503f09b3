//! Reads what a batch is judged on.

use std::collections::{HashMap, HashSet};

use super::super::error::StoreError;
use super::super::statement::{Statement, in_rows};
use super::rows::{
    CREDENTIAL_COLUMNS, GROUP_COLUMNS, PLAIN_COLUMNS, USER_COLUMNS, parse, read_group, read_plain, read_user,
};
use super::sql::{keys, unreadable, where_in};
use super::store::TenantOptions;
use crate::identity::Timestamp;
use crate::store::Connection;
use crate::tenant::read_set::{Claimants, Needs, ReadSet};
use crate::tenant::record::{GroupRecord, PlainRecord, Quarantine, Quarantined, UserRecord};
use crate::tenant::unique::UniqueKind;
use crate::tenant::{DomainRules, ExportChange, ObjectId, PlainKind};

/// The read set of `changes` and of the objects `touched`: their records. Holders of values come as they are needed.
pub(super) async fn read_set(
    conn: &mut Connection,
    changes: &[ExportChange],
    touched: &[ObjectId],
    options: TenantOptions,
) -> Result<ReadSet, StoreError> {
    let mut read = ReadSet::new(domain_rules(conn).await?);
    read.policy = options.matching;
    let held = conn.rows("counting objects", vec![objects_statement()]).await?;
    read.room = options.object_quota - held.first().ok_or(StoreError::NotInitialised)?.get::<i64, _>("value");
    let (mut anchors, mut oids) = (HashSet::new(), HashSet::new());
    for change in changes {
        match change.object.oid {
            Some(oid) => oids.insert(oid.to_string()),
            None => anchors.insert(change.object.source_anchor.clone()),
        };
    }
    oids.extend(touched.iter().map(ToString::to_string));
    add_records(conn, &mut read, Column::SourceAnchor, anchors.into_iter().collect()).await?;
    add_records(conn, &mut read, Column::Oid, oids.into_iter().collect()).await?;
    Ok(read)
}

/// How many undeleted objects there are.
pub(super) fn objects_statement() -> Statement {
    Statement::new("SELECT value FROM counter WHERE name = 'objects'", Vec::new())
}

#[derive(Clone, Copy)]
enum Column {
    Oid,
    SourceAnchor,
}

/// Adds the users and groups whose `column` is one of `values`, with their quarantined values.
async fn add_records(
    conn: &mut Connection,
    read: &mut ReadSet,
    column: Column,
    mut values: Vec<String>,
) -> Result<Vec<ObjectId>, StoreError> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    values.sort_unstable();
    let values = keys(values);
    let column = match column {
        Column::Oid => "oid",
        Column::SourceAnchor => "source_anchor",
    };
    let users = format!(
        "SELECT {USER_COLUMNS}, {CREDENTIAL_COLUMNS} FROM tenant_user u \
         LEFT JOIN credential_source cs ON cs.oid = u.oid WHERE u.{column}"
    );
    let groups = format!("SELECT {GROUP_COLUMNS} FROM tenant_group g WHERE g.{column}");
    let rows = where_in(conn, &users, "", &values, "reading users").await?;
    let users = rows.iter().map(|row| read_user(&row)).collect::<Result<Vec<UserRecord>, _>>()?;
    let rows = where_in(conn, &groups, "", &values, "reading groups").await?;
    let groups = rows.iter().map(|row| read_group(&row)).collect::<Result<Vec<GroupRecord>, _>>()?;
    let plains = format!("SELECT {PLAIN_COLUMNS} FROM tenant_plain p WHERE p.{column}");
    let rows = where_in(conn, &plains, "", &values, "reading contacts and devices").await?;
    let plains = rows.iter().map(|row| read_plain(&row)).collect::<Result<Vec<PlainRecord>, _>>()?;
    let ids = users.iter().map(UserRecord::id).chain(groups.iter().map(GroupRecord::id));
    let ids: Vec<ObjectId> = ids.chain(plains.iter().map(PlainRecord::id)).collect();
    let mut quarantined = quarantined_of(conn, &ids).await?;
    for mut user in users {
        user.quarantined = quarantined.remove(&user.oid.to_string()).unwrap_or_default();
        read.add_user(user);
    }
    for mut group in groups {
        group.quarantined = quarantined.remove(&group.oid.to_string()).unwrap_or_default();
        read.add_group(group);
    }
    for mut plain in plains {
        plain.quarantined = quarantined.remove(&plain.oid.to_string()).unwrap_or_default();
        read.add_plain(plain);
    }
    Ok(ids)
}

/// Quarantined values by `oid`.
pub(super) async fn quarantined_of(
    conn: &mut Connection,
    ids: &[ObjectId],
) -> Result<HashMap<String, Quarantine>, StoreError> {
    let ids = keys(ids.iter().map(ToString::to_string));
    let head = "SELECT oid, kind, value, held_by, since FROM quarantined_value WHERE oid";
    let mut found: HashMap<String, Quarantine> = HashMap::new();
    for row in &where_in(conn, head, "", &ids, "reading quarantined values").await? {
        let waits = Quarantined { held_by: row.get("held_by"), since: Timestamp::from_millis(row.get("since")) };
        found.entry(row.get("oid")).or_default().insert((kind(row.get("kind"))?, row.get("value")), waits);
    }
    Ok(found)
}

pub(super) fn kind(text: &str) -> Result<UniqueKind, StoreError> {
    UniqueKind::from_stored(text).ok_or_else(|| unreadable("unique_value", "kind", format!("`{text}`")))
}

/// Adds to `read` what the plan asks for.
pub(super) async fn add_needs(conn: &mut Connection, read: &mut ReadSet, needs: Needs) -> Result<(), StoreError> {
    for kind in UniqueKind::ALL {
        let of_kind = |values: &[(UniqueKind, String)]| -> Vec<String> {
            values.iter().filter(|(of, _)| *of == kind).map(|(_, value)| value.clone()).collect()
        };
        let holders = of_kind(&needs.holders);
        match kind {
            UniqueKind::Credential => add_credential_holders(conn, read, &holders).await?,
            UniqueKind::Upn | UniqueKind::Address | UniqueKind::Sam => add_holders(conn, read, kind, &holders).await?,
        }
        let claimed = needs.claimants.iter().filter(|(of, ..)| *of == kind);
        let claimed: Vec<_> = claimed.map(|(_, value, most)| (value.clone(), *most)).collect();
        add_claimants(conn, read, kind, &claimed).await?;
    }
    add_records(conn, read, Column::Oid, needs.records.iter().map(ToString::to_string).collect()).await?;
    Ok(())
}

async fn add_holders(
    conn: &mut Connection,
    read: &mut ReadSet,
    kind: UniqueKind,
    values: &[String],
) -> Result<(), StoreError> {
    let mut found = HashMap::new();
    let pairs: Vec<_> = values.iter().map(|value| vec![kind.as_str().into(), value.clone().into()]).collect();
    let head = "SELECT value, owner_kind, owner FROM unique_value WHERE (kind, value)";
    for row in &where_in(conn, head, "", &pairs, "reading the holders of unique values").await? {
        let value: String = row.get("value");
        found.insert(value, object_id(row.get("owner_kind"), row.get("owner"))?);
    }
    for value in values {
        read.set_holder(kind, value.clone(), found.get(value).copied());
    }
    Ok(())
}

pub(super) fn object_id(kind: &str, oid: &str) -> Result<ObjectId, StoreError> {
    match kind {
        "user" => Ok(ObjectId::User(parse("unique_value", "owner", oid)?)),
        "group" => Ok(ObjectId::Group(parse("unique_value", "owner", oid)?)),
        other => match PlainKind::from_stored(other) {
            Some(kind) => Ok(kind.id(parse("unique_value", "owner", oid)?)),
            None => Err(unreadable("unique_value", "owner_kind", format!("`{other}`"))),
        },
    }
}

async fn add_credential_holders(
    conn: &mut Connection,
    read: &mut ReadSet,
    values: &[String],
) -> Result<(), StoreError> {
    let mut found = HashMap::new();
    let pairs: Vec<_> = values
        .iter()
        .filter_map(|value| value.split_once('/'))
        .map(|(connector, anchor)| vec![connector.into(), anchor.into()])
        .collect();
    let head = "SELECT connector, anchor, oid FROM credential_source WHERE (connector, anchor)";
    for row in &where_in(conn, head, "", &pairs, "reading credential sources").await? {
        let (connector, anchor): (String, String) = (row.get("connector"), row.get("anchor"));
        let holder = ObjectId::User(parse("credential_source", "oid", row.get("oid"))?);
        found.insert(format!("{connector}/{anchor}"), holder);
    }
    for value in values {
        read.set_holder(UniqueKind::Credential, value.clone(), found.get(value).copied());
    }
    Ok(())
}

async fn add_claimants(
    conn: &mut Connection,
    read: &mut ReadSet,
    kind: UniqueKind,
    values: &[(String, usize)],
) -> Result<(), StoreError> {
    let Some(most) = values.iter().map(|(_, most)| *most).max() else { return Ok(()) };
    let pairs: Vec<_> = values.iter().map(|(value, _)| vec![kind.as_str().into(), value.clone().into()]).collect();
    let sql = format!(
        "SELECT oid, value, since FROM (SELECT oid, value, since, \
         ROW_NUMBER() OVER (PARTITION BY value ORDER BY since, oid) AS place \
         FROM quarantined_value WHERE (kind, value) IN ({{}})) waiting WHERE place <= {most} ORDER BY value, place"
    );
    let mut claims: HashMap<String, Vec<(Timestamp, String)>> = HashMap::new();
    for row in &conn.rows("reading the claimants of unique values", in_rows(&sql, &[], pairs)).await? {
        let since = Timestamp::from_millis(row.get("since"));
        claims.entry(row.get("value")).or_default().push((since, row.get("oid")));
    }
    let oids: HashSet<String> = claims.values().flatten().map(|(_, oid)| oid.clone()).collect();
    let records = add_records(conn, read, Column::Oid, oids.into_iter().collect()).await?;
    let records: HashMap<String, ObjectId> = records.into_iter().map(|oid| (oid.to_string(), oid)).collect();
    for (value, _) in values {
        let claimants = claims.remove(value).unwrap_or_default();
        let all = claimants.len() < most;
        let known = |(since, oid): (Timestamp, String)| Some((since, *records.get(&oid)?));
        let first = claimants.into_iter().filter_map(known).collect();
        read.set_claimants(kind, value.clone(), Claimants { first, asked: most, all });
    }
    Ok(())
}

/// The domains as they are now.
pub(super) async fn domain_rules(conn: &mut Connection) -> Result<DomainRules, StoreError> {
    let sql = "SELECT name, verification FROM tenant_domain ORDER BY name";
    let domains = conn.rows("reading the domains", vec![Statement::new(sql, Vec::new())]).await?;
    let initial = domains.iter().find(|row| row.get::<String, _>("verification") == "initial");
    let initial: String = initial.ok_or(StoreError::NotInitialised)?.get("name");
    let mut rules = DomainRules::new(parse("tenant_domain", "name", &initial)?);
    for row in domains.iter().filter(|row| row.get::<String, _>("verification") != "pending") {
        rules.verify(parse("tenant_domain", "name", row.get("name"))?);
    }
    let sql = "SELECT connector, domain FROM connector_domain";
    let registered = conn.rows("reading the connectors' domains", vec![Statement::new(sql, Vec::new())]).await?;
    for row in &registered {
        let connector = parse("connector_domain", "connector", row.get("connector"))?;
        rules.register(connector, parse("connector_domain", "domain", row.get("domain"))?);
    }
    Ok(rules)
}
