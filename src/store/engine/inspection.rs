//! Reads about single objects, and bounded scans.

use std::collections::{BTreeMap, BTreeSet};

use super::decode::{self, HEAD, METAVERSE, OBJECT};
use super::links::{Applied, names, pair};
use super::session::SqlEngine;
use super::spaces::ids;
use super::synchronisation::mv_ids;
use crate::identity::ConnectorName;
use crate::store::statement::{Arg, Statement, in_list};
use crate::sync::attribute::Attribute;
use crate::sync::change_set::MvPair;
use crate::sync::inspection::{Inspection, LinkCount, Only, Scan, Scanned};
use crate::sync::metaverse::{MvId, MvLink, MvObject};
use crate::sync::space::{LinkKey, LinkState, ObjectId, SpaceHead, SpaceLink, SpaceObject};
use crate::sync::store::StoreResult;
use crate::sync::synchronise::DueLink;

/// The ends by which links of an object are found.
const ENDS: [&str; 2] = ["owner", "target"];

#[async_trait::async_trait]
impl Inspection for SqlEngine {
    async fn heads(&self, wanted: &[ObjectId]) -> StoreResult<Vec<SpaceHead>> {
        let sql = format!("SELECT {HEAD} FROM space_object WHERE id IN ({{}})");
        let rows = self.all_rows("reading objects", in_list(&sql, &[], ids(wanted))).await?;
        rows.iter().map(decode::head).collect()
    }

    async fn due_links_about(
        &self,
        targets: &[ConnectorName],
        objects: &[ObjectId],
        limit: usize,
    ) -> StoreResult<Vec<DueLink>> {
        let sql = |end: &str| {
            format!(
                "SELECT l.owner, l.attribute, l.target, l.state, o.mv AS owner_mv, o.applied AS owner_applied, \
                 t.mv AS target_mv FROM space_link l JOIN space_object o ON o.id = l.owner \
                 LEFT JOIN space_object t ON t.id = l.target WHERE l.due = 1 AND o.connector NOT IN ({}) \
                 AND l.{end} IN ({{}}) ORDER BY l.owner, l.attribute, l.target LIMIT $1",
                names(targets)
            )
        };
        let statements = ENDS.iter().flat_map(|end| in_list(&sql(end), &[(limit as i64).into()], ids(objects)));
        let (mut applied, mut due) = (Applied::default(), BTreeMap::new());
        for row in self.all_rows("reading due links", statements.collect()).await?.iter() {
            let link = DueLink {
                link: decode::link(row)?,
                owner_mv: row.get::<Option<i64>, _>("owner_mv").map(MvId),
                owner_applied: applied.read(row, "owner_applied")?,
                target_mv: row.get::<Option<i64>, _>("target_mv").map(MvId),
            };
            due.insert(link.link.key.clone(), link);
        }
        Ok(due.into_values().collect())
    }

    async fn due_pairs_about(&self, mvs: &[MvId], limit: usize) -> StoreResult<BTreeSet<MvPair>> {
        let sql = |end: &str| {
            format!("SELECT owner, attribute, target FROM mv_link WHERE due = 1 AND {end} IN ({{}}) LIMIT $1")
        };
        let statements = ENDS.iter().flat_map(|end| in_list(&sql(end), &[(limit as i64).into()], mv_ids(mvs)));
        Ok(self.all_rows("reading due metaverse links", statements.collect()).await?.iter().map(pair).collect())
    }

    async fn due_target_links_about(
        &self,
        targets: &[ConnectorName],
        objects: &[ObjectId],
        limit: usize,
    ) -> StoreResult<Vec<(LinkKey, Option<MvId>, Option<MvId>)>> {
        let sql = |end: &str| {
            format!(
                "SELECT l.owner, l.attribute, l.target, o.mv AS owner_mv, t.mv AS target_mv FROM space_link l \
                 JOIN space_object o ON o.id = l.owner LEFT JOIN space_object t ON t.id = l.target \
                 WHERE l.due = 1 AND o.connector IN ({}) AND l.{end} IN ({{}}) LIMIT $1",
                names(targets)
            )
        };
        let statements = ENDS.iter().flat_map(|end| in_list(&sql(end), &[(limit as i64).into()], ids(objects)));
        let mut due = BTreeMap::new();
        for row in self.all_rows("reading due links", statements.collect()).await?.iter() {
            let mv = |column| row.get::<Option<i64>, _>(column).map(MvId);
            due.insert(decode::link_key(row), (mv("owner_mv"), mv("target_mv")));
        }
        Ok(due.into_iter().map(|(key, (owner, target))| (key, owner, target)).collect())
    }

    async fn staged_links_about(&self, objects: &[ObjectId], limit: usize) -> StoreResult<Vec<SpaceLink>> {
        let sql = |end: &str| {
            format!(
                "SELECT owner, attribute, target, state FROM space_link WHERE state IN ('staged-add', 'staged-delete') \
                 AND {end} IN ({{}}) ORDER BY owner, attribute, target LIMIT $1"
            )
        };
        let statements = ENDS.iter().flat_map(|end| in_list(&sql(end), &[(limit as i64).into()], ids(objects)));
        let mut links = BTreeMap::new();
        for row in self.all_rows("reading staged links", statements.collect()).await?.iter() {
            let link = decode::link(row)?;
            links.insert(link.key, link.state);
        }
        Ok(links.into_iter().map(|(key, state)| SpaceLink { key, state }).collect())
    }

    async fn count_links(&self, owner: ObjectId) -> StoreResult<Vec<LinkCount>> {
        let sql = "SELECT attribute, state, CAST(COUNT(*) AS BIGINT) AS n FROM space_link WHERE owner = $1 \
                   GROUP BY attribute, state ORDER BY attribute, state";
        let rows = self.rows("counting links", Statement::new(sql, vec![owner.0.into()])).await?;
        rows.iter()
            .map(|row| {
                Ok(LinkCount {
                    attribute: Attribute::new(row.get::<String, _>("attribute")),
                    state: decode::code(row, "state", LinkState::from_code)?,
                    count: row.get("n"),
                })
            })
            .collect()
    }

    async fn some_links(&self, owner: ObjectId, limit: usize) -> StoreResult<Vec<SpaceLink>> {
        let sql = "SELECT owner, attribute, target, state FROM space_link WHERE owner = $1 \
                   ORDER BY attribute, target LIMIT $2";
        let args = vec![owner.0.into(), (limit as i64).into()];
        self.rows("reading links", Statement::new(sql, args)).await?.iter().map(decode::link).collect()
    }

    async fn count_referrers(&self, target: ObjectId) -> StoreResult<i64> {
        let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM space_link WHERE target = $1 AND state <> 'removed'";
        let rows = self.rows("counting referrers", Statement::new(sql, vec![target.0.into()])).await?;
        Ok(super::session::count(&rows))
    }

    async fn mv_links_of(&self, owner: MvId, limit: usize) -> StoreResult<Vec<MvLink>> {
        let sql = "SELECT contributor, source_attribute, source_target, owner, attribute, target FROM mv_link \
                   WHERE gone = 0 AND owner = $1 ORDER BY target, attribute LIMIT $2";
        let args = vec![owner.0.into(), (limit as i64).into()];
        let rows = self.rows("reading metaverse links", Statement::new(sql, args)).await?;
        Ok(rows.iter().map(decode::mv_link).collect())
    }

    async fn due_objects(&self, after: ObjectId, limit: usize) -> StoreResult<Vec<ObjectId>> {
        let sql = "SELECT id FROM space_object WHERE due = 1 AND id > $1 ORDER BY id LIMIT $2";
        let args = vec![after.0.into(), (limit as i64).into()];
        Ok(self
            .rows("reading what is due", Statement::new(sql, args))
            .await?
            .iter()
            .map(|r| ObjectId(r.get(0)))
            .collect())
    }

    async fn scan_spaces(&self, scan: &Scan) -> StoreResult<Scanned<SpaceObject>> {
        let mut clauses = vec!["kind <> 'placeholder'".to_owned()];
        let mut args: Vec<Arg> = Vec::new();
        if let Some(connector) = &scan.connector {
            clauses.push(format!("connector IN ({})", names(std::slice::from_ref(connector))));
        }
        if let Some(object_type) = &scan.object_type {
            args.push(object_type.as_str().into());
            clauses.push(format!("object_type = ${}", args.len()));
        }
        if let Some(text) = &scan.text {
            args.push(pattern(text).into());
            let n = args.len();
            let columns = ["rdn", "anchor", "match_key", "shown"].map(|column| format!("LOWER({column}) LIKE ${n}"));
            clauses.push(format!("({})", columns.join(" OR ")));
        }
        clauses.extend(
            match scan.only {
                Only::Any => None,
                Only::PendingImport => Some("pending_import <> 'none'"),
                Only::PendingExport => Some("EXISTS (SELECT 1 FROM pending_export p WHERE p.object = space_object.id)"),
                Only::Unjoined => Some("mv IS NULL AND kind = 'object'"),
                Only::Problem => Some("EXISTS (SELECT 1 FROM object_problem p WHERE p.object = space_object.id)"),
            }
            .map(str::to_owned),
        );
        let (rows, next) = self.scanned(OBJECT, "space_object", clauses, args, scan).await?;
        Ok(Scanned { found: rows.iter().map(decode::object).collect::<StoreResult<_>>()?, next })
    }

    async fn scan_metaverse(&self, scan: &Scan) -> StoreResult<Scanned<MvObject>> {
        let (mut clauses, mut args): (_, Vec<Arg>) = (Vec::new(), Vec::new());
        if let Some(object_type) = &scan.object_type {
            args.push(object_type.as_str().into());
            clauses.push(format!("object_type = ${}", args.len()));
        }
        if let Some(text) = &scan.text {
            args.push(pattern(text).into());
            clauses.push(format!("LOWER(attributes) LIKE ${}", args.len()));
        }
        let (rows, next) = self.scanned(METAVERSE, "mv_object", clauses, args, scan).await?;
        Ok(Scanned { found: rows.iter().map(decode::mv_object).collect::<StoreResult<_>>()?, next })
    }
}

impl SqlEngine {
    /// One window of a scan, and where the next one begins.
    async fn scanned(
        &self,
        columns: &str,
        table: &str,
        mut clauses: Vec<String>,
        mut args: Vec<Arg>,
        scan: &Scan,
    ) -> StoreResult<(crate::store::rows::Rows, Option<i64>)> {
        let doing = "searching the engine";
        let end = scan.after.saturating_add(scan.window);
        args.extend([scan.after.into(), end.into(), (scan.limit as i64).into()]);
        let n = args.len();
        clauses.push(format!("id > ${} AND id <= ${}", n - 2, n - 1));
        let sql = format!("SELECT {columns} FROM {table} WHERE {} ORDER BY id LIMIT ${n}", clauses.join(" AND "));
        let rows = self.rows(doing, Statement::new(sql, args)).await?;
        if rows.len() >= scan.limit {
            let last = rows.last().map(|row| row.get::<i64, _>("id"));
            return Ok((rows, last));
        }
        // Ids have gaps as wide as blocks that were reserved: the next one there is.
        let sql = format!("SELECT id FROM {table} WHERE id > $1 ORDER BY id LIMIT 1");
        let behind = self.rows(doing, Statement::new(sql, vec![end.into()])).await?;
        let next = behind.first().map(|row| row.get::<i64, _>("id") - 1);
        Ok((rows, next))
    }
}

/// Finds at least every text in which `text` stands, whatever its case. What JSON escapes, what a pattern means by
/// itself, and what databases fold differently stands for anything.
fn pattern(text: &str) -> String {
    let mut pattern = "%".to_owned();
    for c in text.chars() {
        match c {
            ' '..='~' if !matches!(c, '"' | '\\' | '%' | '_') => pattern.push(c.to_ascii_lowercase()),
            _ if pattern.ends_with('%') => {}
            _ => pattern.push('%'),
        }
    }
    if !pattern.ends_with('%') {
        pattern.push('%');
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_never_narrower_than_the_text() {
        for (text, expected) in
            [("Ada", "%ada%"), ("zoë \"x\"", "%zo% %x%"), ("a_b%c", "%a%b%c%"), ("", "%"), ("ß", "%")]
        {
            assert_eq!(pattern(text), expected);
        }
    }
}
