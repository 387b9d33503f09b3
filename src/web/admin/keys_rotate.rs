//! `keys.rotate`: announces a new signing key. The present one signs until the new one does, and stays published until
//! its last token has expired.

use serde::{Deserialize, Serialize};

use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::Timestamp;
use crate::issuer::{Algorithm, Issuer};

pub struct KeysRotate;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub algorithm: Algorithm,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub kid: String,
    pub signs_from: Timestamp,
}

impl Operation for KeysRotate {
    const NAME: &'static str = "keys.rotate";
    const RIGHT: Right = Right::ManageTenant;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = Issuer;

    fn subject(request: &Request) -> Option<String> {
        Some(request.algorithm.as_str().to_owned())
    }

    async fn run(issuer: &Issuer, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        match issuer.rotate_key(request.algorithm).await {
            Ok((kid, signs_from)) => Ok(Response { kid, signs_from }),
            Err(error) => Err(OperationError::internal(&error)),
        }
    }
}
