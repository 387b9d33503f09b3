//! How the operations on sign-in tell why they did nothing.

use super::OperationError;
use crate::signin::desk::DeskError;

pub(super) fn desk_error(error: DeskError) -> OperationError {
    match error {
        missing @ (DeskError::NoDomain(_) | DeskError::NoUser(_) | DeskError::NoGroup(_) | DeskError::NoChange(_)) => {
            OperationError::not_found(missing.to_string())
        }
        DeskError::Refused { text, readiness: None } => OperationError::refused(text),
        DeskError::Refused { text, readiness: Some(readiness) } => OperationError::refused(text).with_detail(readiness),
        no @ (DeskError::Moved(_) | DeskError::Outdated(_) | DeskError::StillDown { .. }) => {
            OperationError::refused(no.to_string())
        }
        DeskError::Store(down) => OperationError::internal(&down),
    }
}
