//! What operations on agents answer when the desk refuses.

use super::OperationError;
use crate::agents::broker::desk::DeskError;

impl From<DeskError> for OperationError {
    fn from(error: DeskError) -> Self {
        match &error {
            DeskError::NoSuchConnector(_) | DeskError::NoSuchAgent(_) => Self::not_found(error.to_string()),
            DeskError::NotSynchronised(_)
            | DeskError::ForeignDomain { .. }
            | DeskError::NotConnected { .. }
            | DeskError::NobodyConnected(_) => Self::refused(error.to_string()),
            DeskError::Registry(_) => Self::internal(&error),
        }
    }
}
