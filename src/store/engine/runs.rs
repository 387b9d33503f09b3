//! Runs, steps, problems and figures.

use super::decode::{self, to_json};
use super::links::names;
use super::session::{SqlEngine, count};
use crate::identity::LeaseEpoch;
use crate::identity::{ConnectorName, Timestamp};
use crate::store::statement::Statement;
use crate::sync::problem::{ObjectProblem, Problem, ProblemCode};
use crate::sync::run::{NewRun, RunOutcome, RunRecord, StepRecord};
use crate::sync::space::ObjectId;
use crate::sync::store::{EngineStore, Figures, Runs, StoreResult};

const RUN: &str = "SELECT id, profile, rules, asked_by, started_at, ended_at, outcome, detail FROM sync_run";

#[async_trait::async_trait]
impl Runs for SqlEngine {
    async fn mark(&self, name: &str) -> StoreResult<Option<i64>> {
        let sql = "SELECT value FROM engine_mark WHERE name = $1";
        let rows = self.rows("reading a mark", Statement::new(sql, vec![name.into()])).await?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    async fn set_mark(&self, epoch: LeaseEpoch, name: &str, value: i64) -> StoreResult<()> {
        let sql = "INSERT INTO engine_mark (name, value) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.write(epoch, vec![Statement::new(sql, vec![name.into(), value.into()])]).await.map(drop)
    }

    async fn begin_run(&self, epoch: LeaseEpoch, new: &NewRun) -> StoreResult<i64> {
        let next = Statement::new(
            "INSERT INTO engine_counter (name, value) VALUES ('run', 1) \
             ON CONFLICT (name) DO UPDATE SET value = engine_counter.value + 1 RETURNING value",
            Vec::new(),
        );
        let rows = self.write(epoch, vec![next]).await?;
        let run = count(&rows);
        let args = vec![
            run.into(),
            new.profile.as_str().into(),
            new.rules.into(),
            new.by.as_str().into(),
            new.at.millis().into(),
            RunOutcome::Running.code().into(),
        ];
        let begin = Statement::new(
            "INSERT INTO sync_run (id, profile, rules, asked_by, started_at, outcome) VALUES ($1, $2, $3, $4, $5, $6)",
            args,
        );
        // A run that a crash cut off is told as such by the next one.
        let cut = Statement::new(
            "UPDATE sync_run SET outcome = 'failed', detail = 'the process ended', ended_at = $2 \
             WHERE outcome = 'running' AND id < $1",
            vec![run.into(), new.at.millis().into()],
        );
        let forget = Statement::new(
            "DELETE FROM guard_ledger WHERE at < $1",
            vec![(new.at - crate::sync::guard::MEMORY).millis().into()],
        );
        self.write(epoch, vec![cut, begin, forget]).await?;
        Ok(run)
    }

    async fn purge_runs(&self, epoch: LeaseEpoch, before: Timestamp) -> StoreResult<()> {
        let old = "SELECT id FROM sync_run WHERE started_at < $1 AND id < (SELECT MAX(id) FROM sync_run)";
        let purge = |sql: String| Statement::new(sql, vec![before.millis().into()]);
        let steps = purge(format!("DELETE FROM sync_step WHERE run IN ({old})"));
        let runs = purge(format!("DELETE FROM sync_run WHERE id IN ({old})"));
        self.write(epoch, vec![steps, runs]).await.map(drop)
    }

    async fn end_run(&self, epoch: LeaseEpoch, run: &RunRecord) -> StoreResult<()> {
        let sql = "UPDATE sync_run SET ended_at = $2, outcome = $3, detail = $4 WHERE id = $1";
        let args = vec![
            run.number.into(),
            run.ended_at.map(Timestamp::millis).into(),
            run.outcome.code().into(),
            run.detail.clone().into(),
        ];
        // What is not to be exported any more is neither refused nor unanswered.
        let settled = "DELETE FROM object_problem WHERE code IN ('export-refused', 'export-unanswered') \
                       AND NOT EXISTS (SELECT 1 FROM pending_export p WHERE p.object = object_problem.object) \
                       AND NOT EXISTS (SELECT 1 FROM space_link l WHERE l.owner = object_problem.object \
                       AND l.state IN ('staged-add', 'staged-delete'))";
        self.write(epoch, vec![Statement::new(sql, args), Statement::new(settled, Vec::new())]).await.map(drop)
    }

    async fn record_step(&self, epoch: LeaseEpoch, run: i64, step: &StepRecord) -> StoreResult<()> {
        let sql = "INSERT INTO sync_step (run, ordinal, connector, kind, started_at, ended_at, outcome, counters, detail) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let args = vec![
            run.into(),
            step.ordinal.into(),
            step.connector.as_str().into(),
            step.kind.as_str().into(),
            step.started_at.millis().into(),
            step.ended_at.millis().into(),
            step.outcome.code().into(),
            to_json(&step.counters)?.into(),
            step.detail.clone().into(),
        ];
        self.write(epoch, vec![Statement::new(sql, args)]).await.map(drop)
    }

    async fn last_runs(&self, limit: usize) -> StoreResult<Vec<(RunRecord, Vec<StepRecord>)>> {
        let sql = format!("{RUN} ORDER BY id DESC LIMIT $1");
        self.runs(Statement::new(sql, vec![(limit as i64).into()])).await
    }

    async fn one_run(&self, number: i64) -> StoreResult<Option<(RunRecord, Vec<StepRecord>)>> {
        Ok(self.runs(Statement::new(format!("{RUN} WHERE id = $1"), vec![number.into()])).await?.pop())
    }

    async fn all_problems(&self, limit: usize) -> StoreResult<Vec<ObjectProblem>> {
        let sql = "SELECT p.object, p.code, p.detail, o.connector, o.rdn FROM object_problem p \
                   JOIN space_object o ON o.id = p.object ORDER BY o.connector, o.rdn, p.code LIMIT $1";
        let rows = self.rows("reading problems", Statement::new(sql, vec![(limit as i64).into()])).await?;
        rows.iter()
            .map(|row| {
                let code = decode::code(row, "code", ProblemCode::from_code)?;
                Ok(ObjectProblem {
                    object: ObjectId(row.get("object")),
                    connector: row.get("connector"),
                    name: row.get("rdn"),
                    problem: Problem::new(code, row.get::<String, _>("detail")),
                })
            })
            .collect()
    }

    async fn figures(&self, connector: &ConnectorName) -> StoreResult<Figures> {
        let mut figures = Figures::default();
        let one = || vec![connector.as_str().into()];
        let sql = "SELECT kind, CAST(COUNT(*) AS BIGINT) AS n, CAST(COUNT(mv) AS BIGINT) AS joined FROM space_object \
                   WHERE connector = $1 GROUP BY kind";
        for row in self.rows("counting a space", Statement::new(sql, one())).await?.iter() {
            match row.get::<String, _>("kind").as_str() {
                "object" => {
                    figures.objects = row.get("n");
                    figures.joined = row.get("joined");
                }
                "container" => figures.containers = row.get("n"),
                _ => {}
            }
        }
        let sql = "SELECT kind, state, CAST(COUNT(*) AS BIGINT) AS n FROM pending_export WHERE connector = $1 \
                   GROUP BY kind, state";
        for row in self.rows("counting pending exports", Statement::new(sql, one())).await?.iter() {
            let n: i64 = row.get("n");
            match row.get::<String, _>("kind").as_str() {
                "add" => figures.pending_adds += n,
                "update" => figures.pending_updates += n,
                _ => figures.pending_deletes += n,
            }
            if row.get::<String, _>("state") == "failed" {
                figures.failed += n;
            }
        }
        let sql = format!(
            "SELECT l.state, CAST(COUNT(*) AS BIGINT) AS n FROM space_link l JOIN space_object o ON o.id = l.owner \
             WHERE o.connector IN ({}) GROUP BY l.state",
            names(std::slice::from_ref(connector))
        );
        for row in self.rows("counting links", Statement::new(sql, Vec::new())).await?.iter() {
            let n: i64 = row.get("n");
            match row.get::<String, _>("state").as_str() {
                "staged-add" | "staged-delete" => figures.pending_links += n,
                _ => figures.links += n,
            }
        }
        Ok(figures)
    }
}

impl SqlEngine {
    async fn runs(&self, statement: Statement) -> StoreResult<Vec<(RunRecord, Vec<StepRecord>)>> {
        let mut runs = Vec::new();
        for row in self.rows("reading runs", statement).await?.iter() {
            let run = RunRecord {
                number: row.get("id"),
                profile: row.get("profile"),
                rules: row.get("rules"),
                by: row.get("asked_by"),
                started_at: Timestamp::from_millis(row.get("started_at")),
                ended_at: row.get::<Option<i64>, _>("ended_at").map(Timestamp::from_millis),
                outcome: decode::code(row, "outcome", RunOutcome::from_code)?,
                detail: row.get("detail"),
            };
            let steps = self.steps_of(run.number).await?;
            runs.push((run, steps));
        }
        Ok(runs)
    }

    async fn steps_of(&self, run: i64) -> StoreResult<Vec<StepRecord>> {
        let sql = "SELECT ordinal, connector, kind, started_at, ended_at, outcome, counters, detail FROM sync_step \
                   WHERE run = $1 ORDER BY ordinal";
        let rows = self.rows("reading run steps", Statement::new(sql, vec![run.into()])).await?;
        rows.iter()
            .map(|row| {
                Ok(StepRecord {
                    ordinal: row.get("ordinal"),
                    connector: row.get("connector"),
                    kind: row.get("kind"),
                    started_at: Timestamp::from_millis(row.get("started_at")),
                    ended_at: Timestamp::from_millis(row.get("ended_at")),
                    outcome: decode::code(row, "outcome", RunOutcome::from_code)?,
                    counters: decode::json(row, "counters")?,
                    detail: row.get("detail"),
                })
            })
            .collect()
    }
}

#[async_trait::async_trait]
impl EngineStore for SqlEngine {
    async fn scratch(&self) -> StoreResult<std::sync::Arc<dyn EngineStore>> {
        self.open_scratch().await
    }

    async fn reserve_ids(&self, epoch: LeaseEpoch, wanted: i64) -> StoreResult<i64> {
        let sql = "INSERT INTO engine_counter (name, value) VALUES ('id', $1) \
                   ON CONFLICT (name) DO UPDATE SET value = engine_counter.value + $1 RETURNING value";
        let rows = self.write(epoch, vec![Statement::new(sql, vec![wanted.into()])]).await?;
        // The counter holds the last id given.
        Ok(count(&rows) - wanted + 1)
    }

    async fn dump(&self) -> StoreResult<String> {
        super::dump::dump(self).await
    }
}
