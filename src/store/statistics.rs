//! Keeps PostgreSQL's idea of how full its tables are. Its own analysis comes once a minute, and until then it plans as for
//! empty tables; a first import fills them in seconds, and each plan made for few rows then reads all.

use std::sync::Arc;
use std::time::Duration;

use sqlx::AnyPool;
use sqlx::Row as _;
use tokio_util::task::AbortOnDropHandle;

use crate::identity::causes;

/// How often is looked. The server tells of changes about a second after their commit.
const EVERY: Duration = Duration::from_secs(1);

/// Tables that have changed by as many rows as they held when they were last analysed. Small ones are left to the server.
const OUTGROWN: &str = "SELECT CAST(s.relname AS TEXT) AS name FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid \
     WHERE s.schemaname = current_schema() AND s.n_mod_since_analyze > 500 + GREATEST(c.reltuples, 0) ORDER BY 1";

/// Analyses tables that outgrow what PostgreSQL knows of them, until the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Statistics {
    _keeper: Arc<AbortOnDropHandle<()>>,
}

impl Statistics {
    pub(super) fn keep(pool: AnyPool) -> Self {
        let keeper = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match analyse_outgrown(&pool).await {
                    Ok(()) => {}
                    Err(sqlx::Error::PoolClosed) => return,
                    // The server's own analysis goes on; statements are slower until then.
                    Err(error) => {
                        tracing::warn!(error = %causes(&error), "tables of PostgreSQL could not be analysed");
                    }
                }
            }
        });
        Self { _keeper: Arc::new(AbortOnDropHandle::new(keeper)) }
    }
}

async fn analyse_outgrown(pool: &AnyPool) -> Result<(), sqlx::Error> {
    for row in sqlx::query(OUTGROWN).fetch_all(pool).await? {
        let name: String = row.try_get("name")?;
        // Tables are named by our migrations alone.
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("ANALYZE \"{name}\""))).execute(pool).await?;
    }
    Ok(())
}
