//! What an operation answers when it did not do what was asked.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::identity::causes;

/// An error for the operator: what failed, on which object, and what to do. `code` is stable, `message` is for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct OperationError {
    pub kind: Kind,
    pub message: String,
    /// Facts behind a refusal that tools may want, such as the users who could not sign in.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub detail: serde_json::Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The request is malformed.
    Invalid,
    NotFound,
    /// The principal lacks the right.
    Forbidden,
    /// The gateway refuses to do it as things stand (a guard, readiness, a conflict).
    Refused,
    /// A directory or the store could not be reached.
    Unavailable,
    /// A fault of ours; the log has the cause.
    Internal,
}

impl OperationError {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), detail: serde_json::Value::Null }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// Logs the cause where it is dealt with, here, and tells the operator that the log has it.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        let text = causes(error);
        tracing::error!(error = text, "an admin operation failed");
        Self::new(Kind::Internal, text)
    }

    pub fn with_detail(mut self, detail: impl Serialize) -> Self {
        self.detail = serde_json::to_value(detail).unwrap_or(serde_json::Value::Null);
        self
    }
}

impl IntoResponse for OperationError {
    fn into_response(self) -> Response {
        let status = match self.kind {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::Refused => StatusCode::CONFLICT,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self)).into_response()
    }
}
