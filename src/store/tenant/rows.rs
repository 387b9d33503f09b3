//! Rows of the directory, read into its records and written from them.

use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Value};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::super::error::StoreError;
use super::super::rows::Columns;
use super::sql::{Cell, unreadable};
use crate::identity::{ConnectorName, CredentialSource, ProxyAddress, SourceAnchor, Timestamp, fold};
use crate::tenant::nickname::MailNickname;
use crate::tenant::record::{GroupRecord, PlainRecord, Quarantine, UserRecord};
use crate::tenant::{CredentialLink, Domain, PinMark, PlainKind, Verification};

pub(super) const USER_COLUMNS: &str = "u.oid, u.source_anchor, u.anchor_connector, u.upn, u.on_premises_upn, \
     u.upn_connector, u.display_name, u.given_name, u.surname, u.on_premises_mail, u.mail, u.sam, u.attributes, \
     u.account_enabled, u.cloud_mastered, u.privileged, u.security_stamp, u.created_at, u.updated_at, u.deleted_at, \
     u.proxy_addresses, u.nickname, u.named_by";
pub(super) const CREDENTIAL_COLUMNS: &str =
    "cs.connector AS cs_connector, cs.anchor AS cs_anchor, cs.eligible AS cs_eligible";
pub(super) const GROUP_COLUMNS: &str = "g.oid, g.source_anchor, g.anchor_connector, g.display_name, \
     g.on_premises_mail, g.mail, g.sid, g.attributes, g.cloud_mastered, g.created_at, g.updated_at, g.deleted_at, \
     g.proxy_addresses";
pub(super) const DOMAIN_COLUMNS: &str = "d.name AS d_name, d.verification AS d_verification, d.challenge AS d_challenge, \
     d.created_at AS d_created_at, d.verified_at AS d_verified_at, d.method AS d_method, \
     d.method_since AS d_method_since, d.backup AS d_backup, d.failover AS d_failover, \
     d.max_hash_age_ms AS d_max_hash_age_ms, d.pin AS d_pin, d.pin_by AS d_pin_by, d.pin_at AS d_pin_at, \
     d.pin_until AS d_pin_until, d.partner_outage_ms AS d_partner_outage_ms, \
     d.partner AS d_partner, d.version AS d_version";

pub(super) fn parse<T>(table: &'static str, column: &'static str, text: &str) -> Result<T, StoreError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| unreadable(table, column, error))
}

pub(super) fn text(row: &impl Columns, column: &str) -> Option<String> {
    row.text(column)
}

/// A text that is always there.
fn required(row: &impl Columns, column: &str) -> String {
    row.text(column).unwrap_or_default()
}

fn number(row: &impl Columns, column: &str) -> i64 {
    row.number(column).unwrap_or_default()
}

fn time(row: &impl Columns, column: &str) -> Timestamp {
    Timestamp::from_millis(number(row, column))
}

fn optional_time(row: &impl Columns, column: &str) -> Option<Timestamp> {
    row.number(column).map(Timestamp::from_millis)
}

fn attributes(table: &'static str, row: &impl Columns) -> Result<Map<String, Value>, StoreError> {
    let json = required(row, "attributes");
    serde_json::from_str(&json).map_err(|error| unreadable(table, "attributes", error))
}

fn addresses(table: &'static str, row: &impl Columns) -> Result<Vec<ProxyAddress>, StoreError> {
    let Some(json) = text(row, "proxy_addresses") else { return Ok(Vec::new()) };
    let unreadable = |error: &dyn std::fmt::Display| unreadable(table, "proxy_addresses", error);
    let texts: Vec<String> = serde_json::from_str(&json).map_err(|error| unreadable(&error))?;
    texts.iter().map(|text| ProxyAddress::from_stored(text).map_err(|error| unreadable(&error))).collect()
}

fn addresses_cell(addresses: &[ProxyAddress]) -> Cell {
    let list = || Value::Array(addresses.iter().map(|address| Value::String(address.to_string())).collect());
    (!addresses.is_empty()).then(|| list().to_string()).into()
}

fn connector(
    table: &'static str,
    column: &'static str,
    row: &impl Columns,
) -> Result<Option<ConnectorName>, StoreError> {
    text(row, column).map(|name| parse(table, column, &name)).transpose()
}

/// The credential source of a row that joined it.
pub(super) fn read_credential(row: &impl Columns) -> Result<Option<CredentialLink>, StoreError> {
    let (Some(connector), Some(anchor)) = (text(row, "cs_connector"), text(row, "cs_anchor")) else {
        return Ok(None);
    };
    let connector = parse("credential_source", "connector", &connector)?;
    let eligible = row.number("cs_eligible") == Some(1);
    Ok(Some(CredentialLink {
        source: CredentialSource { connector, anchor: SourceAnchor::from_stored(anchor) },
        eligible,
    }))
}

/// A user of a row with [`USER_COLUMNS`] and [`CREDENTIAL_COLUMNS`]; quarantined values come apart.
pub(super) fn read_user(row: &impl Columns) -> Result<UserRecord, StoreError> {
    const TABLE: &str = "tenant_user";
    Ok(UserRecord {
        oid: parse(TABLE, "oid", &required(row, "oid"))?,
        source_anchor: text(row, "source_anchor").map(SourceAnchor::from_stored),
        anchor_connector: connector(TABLE, "anchor_connector", row)?,
        upn: parse(TABLE, "upn", &required(row, "upn"))?,
        on_premises_upn: text(row, "on_premises_upn"),
        upn_connector: connector(TABLE, "upn_connector", row)?,
        nickname: text(row, "nickname").as_deref().and_then(MailNickname::fitted),
        named_by: text(row, "named_by").as_deref().and_then(MailNickname::fitted),
        display_name: text(row, "display_name"),
        given_name: text(row, "given_name"),
        surname: text(row, "surname"),
        on_premises_mail: text(row, "on_premises_mail"),
        mail: text(row, "mail"),
        addresses: addresses(TABLE, row)?,
        sam: text(row, "sam"),
        attributes: attributes(TABLE, row)?,
        account_enabled: number(row, "account_enabled") == 1,
        cloud_mastered: number(row, "cloud_mastered") == 1,
        privileged: number(row, "privileged") == 1,
        security_stamp: required(row, "security_stamp"),
        credential: read_credential(row)?,
        created_at: time(row, "created_at"),
        updated_at: time(row, "updated_at"),
        deleted_at: optional_time(row, "deleted_at"),
        quarantined: Quarantine::new(),
    })
}

pub(super) const USER_INTO: &str = "tenant_user (oid, source_anchor, anchor_connector, upn, upn_folded, domain, \
     on_premises_upn, on_premises_suffix, upn_connector, display_name, given_name, surname, on_premises_mail, mail, \
     sam, attributes, account_enabled, cloud_mastered, privileged, security_stamp, created_at, updated_at, deleted_at, \
     proxy_addresses, nickname, named_by, netbios)";
/// A user's oid and creation never change; anchor and connector do when a directory takes a user of the cloud over.
pub(super) const USER_UPSERT: &str = "ON CONFLICT (oid) DO UPDATE SET source_anchor = excluded.source_anchor, \
     anchor_connector = excluded.anchor_connector, cloud_mastered = excluded.cloud_mastered, \
     privileged = excluded.privileged, upn = excluded.upn, \
     upn_folded = excluded.upn_folded, domain = excluded.domain, on_premises_upn = excluded.on_premises_upn, \
     on_premises_suffix = excluded.on_premises_suffix, upn_connector = excluded.upn_connector, \
     display_name = excluded.display_name, given_name = excluded.given_name, surname = excluded.surname, \
     on_premises_mail = excluded.on_premises_mail, mail = excluded.mail, sam = excluded.sam, \
     attributes = excluded.attributes, account_enabled = excluded.account_enabled, \
     security_stamp = excluded.security_stamp, updated_at = excluded.updated_at, deleted_at = excluded.deleted_at, \
     proxy_addresses = excluded.proxy_addresses, nickname = excluded.nickname, named_by = excluded.named_by, \
     netbios = excluded.netbios";

pub(super) fn user_cells(user: &UserRecord) -> Vec<Cell> {
    vec![
        user.oid.to_string().into(),
        user.source_anchor.as_ref().map(ToString::to_string).into(),
        user.anchor_connector.as_ref().map(ToString::to_string).into(),
        user.upn.to_string().into(),
        user.upn.folded().into(),
        user.upn.domain().as_str().into(),
        user.on_premises_upn.clone().into(),
        user.on_premises_upn.as_deref().and_then(suffix).into(),
        user.upn_connector.as_ref().map(ToString::to_string).into(),
        user.display_name.clone().into(),
        user.given_name.clone().into(),
        user.surname.clone().into(),
        user.on_premises_mail.clone().into(),
        user.mail.clone().into(),
        user.sam.clone().into(),
        Value::Object(user.attributes.clone()).to_string().into(),
        user.account_enabled.into(),
        user.cloud_mastered.into(),
        user.privileged.into(),
        user.security_stamp.clone().into(),
        user.created_at.millis().into(),
        user.updated_at.millis().into(),
        user.deleted_at.map(Timestamp::millis).into(),
        addresses_cell(&user.addresses),
        user.nickname.as_ref().map(ToString::to_string).into(),
        user.named_by.as_ref().map(ToString::to_string).into(),
        user.netbios().into(),
    ]
}

/// The suffix by which a newly verified domain finds its users.
fn suffix(upn: &str) -> Option<String> {
    let (_, suffix) = upn.rsplit_once('@')?;
    Some(suffix.parse().map_or_else(|_| fold(suffix), |name: crate::identity::DomainName| name.to_string()))
}

/// A group of a row with [`GROUP_COLUMNS`]; quarantined values come apart.
pub(super) fn read_group(row: &impl Columns) -> Result<GroupRecord, StoreError> {
    const TABLE: &str = "tenant_group";
    Ok(GroupRecord {
        oid: parse(TABLE, "oid", &required(row, "oid"))?,
        source_anchor: text(row, "source_anchor").map(SourceAnchor::from_stored),
        anchor_connector: connector(TABLE, "anchor_connector", row)?,
        display_name: text(row, "display_name"),
        on_premises_mail: text(row, "on_premises_mail"),
        mail: text(row, "mail"),
        addresses: addresses(TABLE, row)?,
        sid: text(row, "sid"),
        attributes: attributes(TABLE, row)?,
        cloud_mastered: number(row, "cloud_mastered") == 1,
        created_at: time(row, "created_at"),
        updated_at: time(row, "updated_at"),
        deleted_at: optional_time(row, "deleted_at"),
        quarantined: Quarantine::new(),
    })
}

pub(super) const GROUP_INTO: &str = "tenant_group (oid, source_anchor, anchor_connector, display_name, \
     on_premises_mail, mail, sid, attributes, cloud_mastered, created_at, updated_at, deleted_at, member_count, proxy_addresses)";
/// The counter of members belongs to the links.
pub(super) const GROUP_UPSERT: &str = "ON CONFLICT (oid) DO UPDATE SET source_anchor = excluded.source_anchor, \
     anchor_connector = excluded.anchor_connector, cloud_mastered = excluded.cloud_mastered, \
     display_name = excluded.display_name, \
     on_premises_mail = excluded.on_premises_mail, mail = excluded.mail, sid = excluded.sid, \
     attributes = excluded.attributes, updated_at = excluded.updated_at, deleted_at = excluded.deleted_at, \
     proxy_addresses = excluded.proxy_addresses";

pub(super) fn group_cells(group: &GroupRecord) -> Vec<Cell> {
    vec![
        group.oid.to_string().into(),
        group.source_anchor.as_ref().map(ToString::to_string).into(),
        group.anchor_connector.as_ref().map(ToString::to_string).into(),
        group.display_name.clone().into(),
        group.on_premises_mail.clone().into(),
        group.mail.clone().into(),
        group.sid.clone().into(),
        Value::Object(group.attributes.clone()).to_string().into(),
        group.cloud_mastered.into(),
        group.created_at.millis().into(),
        group.updated_at.millis().into(),
        group.deleted_at.map(Timestamp::millis).into(),
        0_i64.into(),
        addresses_cell(&group.addresses),
    ]
}

pub(super) const PLAIN_COLUMNS: &str = "p.oid, p.kind, p.source_anchor, p.anchor_connector, p.display_name, \
     p.on_premises_mail, p.mail, p.attributes, p.created_at, p.updated_at, p.deleted_at, p.proxy_addresses";

/// A contact or device of a row with [`PLAIN_COLUMNS`]; quarantined values come apart.
pub(super) fn read_plain(row: &impl Columns) -> Result<PlainRecord, StoreError> {
    const TABLE: &str = "tenant_plain";
    let kind = required(row, "kind");
    Ok(PlainRecord {
        kind: PlainKind::from_stored(&kind).ok_or_else(|| unreadable(TABLE, "kind", format!("`{kind}`")))?,
        oid: parse(TABLE, "oid", &required(row, "oid"))?,
        source_anchor: SourceAnchor::from_stored(required(row, "source_anchor")),
        anchor_connector: parse(TABLE, "anchor_connector", &required(row, "anchor_connector"))?,
        display_name: text(row, "display_name"),
        on_premises_mail: text(row, "on_premises_mail"),
        mail: text(row, "mail"),
        addresses: addresses(TABLE, row)?,
        attributes: attributes(TABLE, row)?,
        created_at: time(row, "created_at"),
        updated_at: time(row, "updated_at"),
        deleted_at: optional_time(row, "deleted_at"),
        quarantined: Quarantine::new(),
    })
}

pub(super) const PLAIN_INTO: &str = "tenant_plain (oid, kind, source_anchor, anchor_connector, display_name, \
     on_premises_mail, mail, attributes, created_at, updated_at, deleted_at, proxy_addresses)";
pub(super) const PLAIN_UPSERT: &str = "ON CONFLICT (oid) DO UPDATE SET \
     anchor_connector = excluded.anchor_connector, display_name = excluded.display_name, \
     on_premises_mail = excluded.on_premises_mail, mail = excluded.mail, attributes = excluded.attributes, \
     updated_at = excluded.updated_at, deleted_at = excluded.deleted_at, proxy_addresses = excluded.proxy_addresses";

pub(super) fn plain_cells(plain: &PlainRecord) -> Vec<Cell> {
    vec![
        plain.oid.to_string().into(),
        plain.kind.as_str().into(),
        plain.source_anchor.to_string().into(),
        plain.anchor_connector.to_string().into(),
        plain.display_name.clone().into(),
        plain.on_premises_mail.clone().into(),
        plain.mail.clone().into(),
        Value::Object(plain.attributes.clone()).to_string().into(),
        plain.created_at.millis().into(),
        plain.updated_at.millis().into(),
        plain.deleted_at.map(Timestamp::millis).into(),
        addresses_cell(&plain.addresses),
    ]
}

/// A domain of a row with [`DOMAIN_COLUMNS`].
pub(super) fn read_domain(row: &AnyRow) -> Result<Domain, StoreError> {
    const TABLE: &str = "tenant_domain";
    let verified_at = optional_time(row, "d_verified_at");
    let verification: String = row.get("d_verification");
    let verification = match (verification.as_str(), verified_at) {
        ("initial", _) => Verification::Initial,
        ("pending", _) => Verification::Pending,
        ("dns", Some(at)) => Verification::Dns(at),
        ("operator", Some(at)) => Verification::Operator(at),
        (other, _) => return Err(unreadable(TABLE, "verification", format!("`{other}`"))),
    };
    let pin = match (text(row, "d_pin"), text(row, "d_pin_by"), optional_time(row, "d_pin_at")) {
        (None, _, _) => None,
        (Some(pin), Some(by), Some(at)) => {
            Some(PinMark { pin: parse(TABLE, "pin", &pin)?, by, at, until: optional_time(row, "d_pin_until") })
        }
        (Some(_), _, _) => return Err(unreadable(TABLE, "pin", "a pin without its author or time")),
    };
    let span = |column: &str, named: &'static str| {
        let millis: i64 = row.get(column);
        u64::try_from(millis).map(Duration::from_millis).map_err(|error| unreadable(TABLE, named, error))
    };
    Ok(Domain {
        name: parse(TABLE, "name", row.get("d_name"))?,
        verification,
        challenge: row.get("d_challenge"),
        created_at: time(row, "d_created_at"),
        method: parse(TABLE, "method", row.get("d_method"))?,
        method_since: time(row, "d_method_since"),
        backup: parse(TABLE, "backup", row.get("d_backup"))?,
        failover: parse(TABLE, "failover", row.get("d_failover"))?,
        max_hash_age: span("d_max_hash_age_ms", "max_hash_age_ms")?,
        partner_outage_after: span("d_partner_outage_ms", "partner_outage_ms")?,
        pin,
        partner: text(row, "d_partner").map(|entity| parse(TABLE, "partner", &entity)).transpose()?,
        version: row.get("d_version"),
    })
}
