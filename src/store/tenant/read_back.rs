//! The confirming read: shadows in pages, and the change feed.

use std::collections::HashMap;

use super::super::error::StoreError;
use super::super::rows::{Row, Rows};
use super::super::statement::Statement;
use super::export::unavailable;
use super::load::object_id;
use super::rows::{
    CREDENTIAL_COLUMNS, GROUP_COLUMNS, PLAIN_COLUMNS, USER_COLUMNS, read_group, read_plain, read_user, text,
};
use super::sql::{Cell, keys, unreadable, where_in};
use super::store::TenantStore;
use crate::identity::SourceAnchor;
use crate::store::Connection;
use crate::tenant::record::{GroupRecord, PlainRecord, UserRecord};
use crate::tenant::{
    Change, ChangeMark, ChangeOperation, ChangePage, ChangedThing, GroupShadow, LinkPage, LinkPosition, ObjectId,
    PlainShadow, ShadowLink, ShadowObject, TenantReadBack, TenantUnavailable, UserShadow,
};
use async_trait::async_trait;

#[async_trait]
impl TenantReadBack for TenantStore {
    async fn newest_change(&self) -> Result<ChangeMark, TenantUnavailable> {
        self.read_newest_change().await.map_err(unavailable)
    }

    async fn users_after(
        &self,
        after: Option<&SourceAnchor>,
        limit: u32,
    ) -> Result<Vec<ShadowObject>, TenantUnavailable> {
        let sql = format!(
            "SELECT {USER_COLUMNS}, {CREDENTIAL_COLUMNS} FROM tenant_user u \
             LEFT JOIN credential_source cs ON cs.oid = u.oid \
             WHERE u.source_anchor > $1 AND u.deleted_at IS NULL ORDER BY u.source_anchor LIMIT $2"
        );
        let rows = self.read_page(sql, after, limit).await.map_err(unavailable)?;
        users(&rows).map_err(unavailable)
    }

    async fn groups_after(
        &self,
        after: Option<&SourceAnchor>,
        limit: u32,
    ) -> Result<Vec<ShadowObject>, TenantUnavailable> {
        let sql = format!(
            "SELECT {GROUP_COLUMNS} FROM tenant_group g \
             WHERE g.source_anchor > $1 AND g.deleted_at IS NULL ORDER BY g.source_anchor LIMIT $2"
        );
        let rows = self.read_page(sql, after, limit).await.map_err(unavailable)?;
        groups(&rows).map_err(unavailable)
    }

    async fn plain_after(
        &self,
        after: Option<&SourceAnchor>,
        limit: u32,
    ) -> Result<Vec<ShadowObject>, TenantUnavailable> {
        let sql = format!(
            "SELECT {PLAIN_COLUMNS} FROM tenant_plain p \
             WHERE p.source_anchor > $1 AND p.deleted_at IS NULL ORDER BY p.source_anchor LIMIT $2"
        );
        let rows = self.read_page(sql, after, limit).await.map_err(unavailable)?;
        plains(&rows).map_err(unavailable)
    }

    async fn links_after(&self, after: Option<&LinkPosition>, limit: u32) -> Result<LinkPage, TenantUnavailable> {
        self.read_links(after, limit).await.map_err(unavailable)
    }

    async fn changes_after(&self, mark: ChangeMark, limit: u32) -> Result<Option<ChangePage>, TenantUnavailable> {
        self.read_changes(mark, limit).await.map_err(unavailable)
    }

    async fn objects(&self, oids: &[ObjectId]) -> Result<Vec<ShadowObject>, TenantUnavailable> {
        let of = |wanted: fn(&ObjectId) -> bool| keys(oids.iter().filter(|oid| wanted(oid)).map(ToString::to_string));
        let users = of(|oid| matches!(oid, ObjectId::User(_)));
        let groups = of(|oid| matches!(oid, ObjectId::Group(_)));
        let plains = of(|oid| matches!(oid, ObjectId::Contact(_) | ObjectId::Device(_)));
        self.read_objects("oid", &users, &groups, &plains).await.map_err(unavailable)
    }

    async fn anchored(&self, anchors: &[SourceAnchor]) -> Result<Vec<ShadowObject>, TenantUnavailable> {
        let anchors = keys(anchors.iter().map(ToString::to_string));
        self.read_objects("source_anchor", &anchors, &anchors, &anchors).await.map_err(unavailable)
    }
}

/// Members that wait are listed after all that are there, under this prefix of their position.
const WAITING: &str = "anchor:";

impl TenantStore {
    async fn read_newest_change(&self) -> Result<ChangeMark, StoreError> {
        let sql = "SELECT number, witness FROM change_feed ORDER BY number DESC LIMIT 1";
        let rows = self.db.fetch("reading the change feed", vec![Statement::new(sql, Vec::new())]).await?;
        Ok(rows.first().map_or(BEGINNING, mark))
    }

    async fn read_page(&self, sql: String, after: Option<&SourceAnchor>, limit: u32) -> Result<Rows, StoreError> {
        let args = vec![after.map(ToString::to_string).unwrap_or_default().into(), i64::from(limit).into()];
        self.db.fetch("reading the directory back", vec![Statement::new(sql, args)]).await
    }

    async fn read_links(&self, after: Option<&LinkPosition>, limit: u32) -> Result<LinkPage, StoreError> {
        let start = LinkPosition { group: String::new(), member: String::new() };
        let after = after.unwrap_or(&start);
        let (sql, waiting) = if after.member.starts_with(WAITING) {
            let sql = "SELECT w.group_oid, w.member_anchor AS member, g.source_anchor AS group_anchor, \
                       w.member_anchor AS member_anchor \
                       FROM membership_waiting w JOIN tenant_group g ON g.oid = w.group_oid \
                       WHERE (w.group_oid, w.member_anchor) > ($1, $2) \
                       AND g.deleted_at IS NULL AND g.source_anchor IS NOT NULL \
                       ORDER BY w.group_oid, w.member_anchor LIMIT $3";
            (sql, true)
        } else {
            let sql = "SELECT m.group_oid, m.member_kind, m.member_oid AS member, g.source_anchor AS group_anchor, \
                       COALESCE(mu.source_anchor, mg.source_anchor, mp.source_anchor) AS member_anchor \
                       FROM membership m JOIN tenant_group g ON g.oid = m.group_oid \
                       LEFT JOIN tenant_user mu \
                         ON m.member_kind = 'user' AND mu.oid = m.member_oid AND mu.deleted_at IS NULL \
                       LEFT JOIN tenant_group mg \
                         ON m.member_kind = 'group' AND mg.oid = m.member_oid AND mg.deleted_at IS NULL \
                       LEFT JOIN tenant_plain mp \
                         ON m.member_kind IN ('contact', 'device') AND mp.oid = m.member_oid AND mp.deleted_at IS NULL \
                       WHERE (m.group_oid, m.member_kind, m.member_oid) > ($1, $2, $3) AND g.deleted_at IS NULL \
                       AND g.source_anchor IS NOT NULL \
                       AND COALESCE(mu.source_anchor, mg.source_anchor, mp.source_anchor) IS NOT NULL \
                       ORDER BY m.group_oid, m.member_kind, m.member_oid LIMIT $4";
            (sql, false)
        };
        let mut args = vec![after.group.as_str().into()];
        match after.member.split_once(':') {
            Some(("anchor", anchor)) => args.push(anchor.into()),
            Some((kind, oid)) => args.extend([kind.into(), oid.into()]),
            None => args.extend(["".into(), "".into()]),
        }
        args.push(i64::from(limit).into());
        let rows = self.db.fetch("reading memberships back", vec![Statement::new(sql, args)]).await?;
        let links = rows
            .iter()
            .map(|row| ShadowLink {
                group: SourceAnchor::from_stored(row.get("group_anchor")),
                member: SourceAnchor::from_stored(row.get("member_anchor")),
            })
            .collect();
        let full = rows.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let next = match rows.last().filter(|_| full) {
            Some(row) => Some(LinkPosition { group: row.get("group_oid"), member: position(row, waiting) }),
            None if waiting => None,
            None => Some(LinkPosition { group: String::new(), member: WAITING.to_owned() }),
        };
        Ok(LinkPage { links, next })
    }

    async fn read_changes(&self, after: ChangeMark, limit: u32) -> Result<Option<ChangePage>, StoreError> {
        let mut conn = self.db.reader("reading the change feed").await?;
        // What was marked is read with what follows it: both are of one history.
        let sql = "SELECT number, witness, kind, id, member, operation FROM change_feed WHERE number >= $1 \
                   ORDER BY number LIMIT $2";
        let args = vec![after.number.into(), i64::from(limit).saturating_add(1).into()];
        let rows = conn.rows("reading the change feed", vec![Statement::new(sql, args)]).await?;
        let first = rows.first().map(mark);
        let follows = match after {
            BEGINNING => first.is_none_or(|first| first.number == 1),
            _ => first == Some(after),
        };
        if !follows {
            return Ok(None);
        }
        let upto = rows.last().map_or(after, mark);
        let new = rows.iter().skip(if after == BEGINNING { 0 } else { 1 });
        let mut oids: HashMap<&str, Vec<String>> = HashMap::new();
        let parsed = new.map(FeedRow::read).collect::<Result<Vec<_>, _>>()?;
        for row in &parsed {
            match row.kind.as_str() {
                "user" => oids.entry("user").or_default().push(row.id.clone()),
                "group" | "member" => oids.entry("group").or_default().push(row.id.clone()),
                "contact" | "device" => oids.entry("plain").or_default().push(row.id.clone()),
                _ => {}
            }
            match row.member.as_deref().and_then(|member| member.split_once(':')) {
                Some(("user", oid)) => oids.entry("user").or_default().push(oid.to_owned()),
                Some(("group", oid)) => oids.entry("group").or_default().push(oid.to_owned()),
                Some(("contact" | "device", oid)) => oids.entry("plain").or_default().push(oid.to_owned()),
                _ => {}
            }
        }
        let mut anchors = HashMap::new();
        for (kind, oids) in oids {
            add_anchors(&mut conn, kind, oids, &mut anchors).await?;
        }
        let changes = parsed.into_iter().map(|row| row.into_change(&anchors)).collect::<Result<Vec<_>, _>>()?;
        // Links of objects that were never exported are nobody's to confirm.
        Ok(Some(ChangePage { changes: changes.into_iter().flatten().collect(), upto }))
    }

    async fn read_objects(
        &self,
        column: &'static str,
        user_keys: &[Vec<Cell>],
        group_keys: &[Vec<Cell>],
        plain_keys: &[Vec<Cell>],
    ) -> Result<Vec<ShadowObject>, StoreError> {
        let mut conn = self.db.reader("reading objects back").await?;
        let head = format!(
            "SELECT {USER_COLUMNS}, {CREDENTIAL_COLUMNS} FROM tenant_user u \
             LEFT JOIN credential_source cs ON cs.oid = u.oid WHERE u.deleted_at IS NULL AND u.{column}"
        );
        let rows = where_in(&mut conn, &head, "", user_keys, "reading users back").await?;
        let mut found = users(&rows)?;
        let head = format!("SELECT {GROUP_COLUMNS} FROM tenant_group g WHERE g.deleted_at IS NULL AND g.{column}");
        let rows = where_in(&mut conn, &head, "", group_keys, "reading groups back").await?;
        found.extend(groups(&rows)?);
        let head = format!("SELECT {PLAIN_COLUMNS} FROM tenant_plain p WHERE p.deleted_at IS NULL AND p.{column}");
        let rows = where_in(&mut conn, &head, "", plain_keys, "reading contacts and devices back").await?;
        found.extend(plains(&rows)?);
        Ok(found)
    }
}

/// Where no change is read yet.
const BEGINNING: ChangeMark = ChangeMark { number: 0, witness: 0 };

fn mark(row: Row<'_>) -> ChangeMark {
    ChangeMark { number: row.get("number"), witness: row.get("witness") }
}

fn position(row: Row<'_>, waiting: bool) -> String {
    let member: String = row.get("member");
    if waiting {
        return format!("{WAITING}{member}");
    }
    let kind: String = row.get("member_kind");
    format!("{kind}:{member}")
}

struct FeedRow {
    number: i64,
    kind: String,
    id: String,
    member: Option<String>,
    operation: ChangeOperation,
}

impl FeedRow {
    fn read(row: Row<'_>) -> Result<Self, StoreError> {
        let operation: String = row.get("operation");
        let operation = match operation.as_str() {
            "add" => ChangeOperation::Add,
            "update" => ChangeOperation::Update,
            "delete" => ChangeOperation::Delete,
            "restore" => ChangeOperation::Restore,
            other => return Err(unreadable("change_feed", "operation", format!("`{other}`"))),
        };
        Ok(Self {
            number: row.get("number"),
            kind: row.get("kind"),
            id: row.get("id"),
            member: text(&row, "member"),
            operation,
        })
    }

    /// `None` for a link of which one end has no source anchor.
    fn into_change(self, anchors: &HashMap<String, SourceAnchor>) -> Result<Option<Change>, StoreError> {
        let what = match self.kind.as_str() {
            "user" | "group" | "contact" | "device" => ChangedThing::Object {
                oid: object_id(&self.kind, &self.id)?,
                source_anchor: anchors.get(&self.id).cloned(),
            },
            "domain" => ChangedThing::Domain(self.id),
            "member" => {
                let member = match self.member.as_deref().and_then(|member| member.split_once(':')) {
                    Some(("anchor", anchor)) => Some(SourceAnchor::from_stored(anchor.to_owned())),
                    Some((_, oid)) => anchors.get(oid).cloned(),
                    None => return Err(unreadable("change_feed", "member", "no kind")),
                };
                match anchors.get(&self.id).cloned().zip(member) {
                    Some((group, member)) => ChangedThing::Link(ShadowLink { group, member }),
                    None => return Ok(None),
                }
            }
            other => return Err(unreadable("change_feed", "kind", format!("`{other}`"))),
        };
        Ok(Some(Change { number: self.number, what, operation: self.operation }))
    }
}

async fn add_anchors(
    conn: &mut Connection,
    kind: &str,
    mut oids: Vec<String>,
    anchors: &mut HashMap<String, SourceAnchor>,
) -> Result<(), StoreError> {
    oids.sort_unstable();
    oids.dedup();
    let head = match kind {
        "user" => "SELECT oid, source_anchor FROM tenant_user WHERE source_anchor IS NOT NULL AND oid",
        "plain" => "SELECT oid, source_anchor FROM tenant_plain WHERE oid",
        _ => "SELECT oid, source_anchor FROM tenant_group WHERE source_anchor IS NOT NULL AND oid",
    };
    for row in &where_in(conn, head, "", &keys(oids), "reading source anchors").await? {
        anchors.insert(row.get("oid"), SourceAnchor::from_stored(row.get("source_anchor")));
    }
    Ok(())
}

/// Cloud-mastered objects have no shadow.
fn users(rows: &Rows) -> Result<Vec<ShadowObject>, StoreError> {
    let shadow = |user: UserRecord| {
        Some(ShadowObject::User(UserShadow {
            oid: user.oid,
            source_anchor: user.source_anchor?,
            anchor_connector: user.anchor_connector?,
            on_premises_upn: user.on_premises_upn,
            upn_connector: user.upn_connector,
            display_name: user.display_name,
            given_name: user.given_name,
            surname: user.surname,
            mail: user.on_premises_mail,
            sam: user.sam,
            account_enabled: user.account_enabled,
            credential_source: user.credential,
            attributes: user.attributes,
        }))
    };
    let users = rows.iter().map(|row| read_user(&row)).collect::<Result<Vec<_>, _>>()?;
    Ok(users.into_iter().filter_map(shadow).collect())
}

fn groups(rows: &Rows) -> Result<Vec<ShadowObject>, StoreError> {
    let shadow = |group: GroupRecord| {
        Some(ShadowObject::Group(GroupShadow {
            oid: group.oid,
            source_anchor: group.source_anchor?,
            anchor_connector: group.anchor_connector?,
            display_name: group.display_name,
            mail: group.on_premises_mail,
            sid: group.sid,
            attributes: group.attributes,
        }))
    };
    let groups = rows.iter().map(|row| read_group(&row)).collect::<Result<Vec<_>, _>>()?;
    Ok(groups.into_iter().filter_map(shadow).collect())
}

fn plains(rows: &Rows) -> Result<Vec<ShadowObject>, StoreError> {
    let shadow = |plain: PlainRecord| {
        ShadowObject::Plain(PlainShadow {
            oid: plain.id(),
            source_anchor: plain.source_anchor,
            anchor_connector: plain.anchor_connector,
            display_name: plain.display_name,
            mail: plain.on_premises_mail,
            attributes: plain.attributes,
        })
    };
    rows.iter().map(|row| read_plain(&row).map(shadow)).collect()
}
