//! What can go wrong below the traits.

/// A failure of the store itself. Never carries a value of a row.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database refused or broke while {doing}")]
    Database { doing: &'static str, source: sqlx::Error },
    #[error("the stored value of `{column}` in `{table}` cannot be read: {reason}")]
    Unreadable { table: &'static str, column: &'static str, reason: String },
    #[error("the engine lease is no longer ours (epoch {epoch})")]
    LeaseLost { epoch: i64 },
    #[error("the tenant has no initial domain: `landbridge init` was not run on this store")]
    NotInitialised,
    #[error("the row was changed by somebody else in the meantime")]
    Conflict,
    #[error("the database writer has stopped")]
    Stopped,
    #[error(
        "the database file belongs to a newer version of the product (migration {found}, this version knows {known})"
    )]
    TooNew { found: i64, known: i64 },
    #[error("a write to the database panicked and was rolled back")]
    Panicked,
}

impl StoreError {
    /// For `map_err`: names what was being done when the database failed.
    pub fn doing(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }

    /// Whether the cause is a uniqueness constraint, so that the caller can name the duplicate.
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Database { source: sqlx::Error::Database(e), .. } if e.is_unique_violation())
    }
}
