//! Where the store is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a database is: `sqlite:DIRECTORY` (the two files lie in it) or `postgres://...`.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    Sqlite { directory: PathBuf },
    Postgres { url: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a store url is `sqlite:DIRECTORY` or `postgres://USER@HOST:PORT/DATABASE`")]
pub struct DatabaseUrlError;

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(directory) = text.strip_prefix("sqlite:").filter(|rest| !rest.is_empty()) {
            return Ok(Self::Sqlite { directory: PathBuf::from(directory) });
        }
        match url::Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") && url.has_host() => {
                Ok(Self::Postgres { url: text.to_owned() })
            }
            _ => Err(DatabaseUrlError),
        }
    }
}

/// Shows where the database is, without a password that the URL may hold.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { directory } => write!(f, "sqlite:{}", directory.display()),
            Self::Postgres { url } => match url::Url::parse(url) {
                Ok(url) => write!(f, "postgres://{}{}", url.host_str().unwrap_or_default(), url.path()),
                Err(_) => f.write_str("postgres:"),
            },
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
