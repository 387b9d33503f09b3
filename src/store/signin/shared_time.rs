//! The time that all nodes agree on: the database's. A SQLite store has one node, whose own clock it is.

use std::sync::Arc;

use async_trait::async_trait;

use super::down;
use crate::identity::{Clock, Timestamp};
use crate::signin::shared_time::SharedTime;
use crate::signin::store::StoreDown;
use crate::store::database::Engine;
use crate::store::{Database, lease};

pub struct DatabaseTime {
    db: Database,
    own: Arc<dyn Clock>,
}

impl DatabaseTime {
    /// `own`: the clock of this node.
    pub fn new(db: Database, own: Arc<dyn Clock>) -> Self {
        Self { db, own }
    }
}

#[async_trait]
impl SharedTime for DatabaseTime {
    async fn now(&self) -> Result<Timestamp, StoreDown> {
        if self.db.engine() == Engine::Sqlite {
            return Ok(self.own.now());
        }
        let mut conn = self.db.reader("reading the database's clock").await.map_err(down)?;
        lease::database_time(&mut conn).await.map(Timestamp::from_millis).map_err(down)
    }
}
