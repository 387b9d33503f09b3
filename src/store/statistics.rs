//! Keeps PostgreSQL's idea of how full its tables are. Its own analysis comes once a minute, and until then it plans as for
//! empty tables; a first import fills them in seconds, and each plan made for few rows then reads all.

use std::sync::Arc;
use std::time::Duration;

use sqlx::AnyPool;
use sqlx::Row as _;
use tokio_util::task::AbortOnDropHandle;

use crate::identity::causes;

/// How often is looked, and how often while tables grow: what is planned for a small table reads all of it, once it has grown.
const EVERY: Duration = Duration::from_secs(1);
const GROWING: Duration = Duration::from_millis(250);

/// Tables that have grown to twice the pages they had when they were last analysed, which the server tells at once, or to
/// twice the rows, which it tells about a second after their commit; small ones are left to it. So are those that were
/// emptied: until what was deleted is cleared away, no plan that is made for no rows is a good one.
const OUTGROWN: &str = "SELECT CAST(s.relname AS TEXT) AS name FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid \
     WHERE s.schemaname = current_schema() AND s.n_live_tup >= c.reltuples \
     AND (s.n_live_tup > 500 + 2 * GREATEST(c.reltuples, 0) \
     OR pg_relation_size(s.relid) / current_setting('block_size')::BIGINT > 8 + 2 * c.relpages) ORDER BY 1";

/// Analyses tables that outgrow what PostgreSQL knows of them, until the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Statistics {
    _keeper: Arc<AbortOnDropHandle<()>>,
}

impl Statistics {
    pub(super) fn keep(pool: AnyPool) -> Self {
        let keeper = tokio::spawn(async move {
            let mut next = EVERY;
            loop {
                tokio::time::sleep(next).await;
                next = EVERY;
                match analyse_outgrown(&pool).await {
                    Ok(0) => {}
                    Ok(_) => next = GROWING,
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

/// Returns how many tables there were.
async fn analyse_outgrown(pool: &AnyPool) -> Result<usize, sqlx::Error> {
    let outgrown = sqlx::query(OUTGROWN).fetch_all(pool).await?;
    for row in &outgrown {
        let name: String = row.try_get("name")?;
        // Tables are named by our migrations alone.
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("ANALYZE \"{name}\""))).execute(pool).await?;
    }
    Ok(outgrown.len())
}
