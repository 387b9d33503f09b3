//! `client.add`: registers an application. The answer tells its secret, once.

use serde::{Deserialize, Serialize};

use super::{AdminSession, Kind, Operation, OperationError, Right};
use crate::issuer::{Issuer, NewClient};

pub struct ClientAdd;

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub client_id: String,
    /// The secret in the clear; the gateway keeps its hash alone. None for a public client.
    pub client_secret: Option<String>,
    /// Where applications read everything else.
    pub metadata: String,
}

impl Operation for ClientAdd {
    const NAME: &'static str = "client.add";
    const RIGHT: Right = Right::ManageTenant;
    const CHANGES: bool = true;
    type Request = NewClient;
    type Response = Response;
    type Gateway = Issuer;

    fn subject(request: &NewClient) -> Option<String> {
        Some(request.client_id.to_string())
    }

    async fn run(issuer: &Issuer, _: &AdminSession, request: NewClient) -> Result<Response, OperationError> {
        let (client, secret) = request.register(issuer.now()).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            OperationError::invalid(format!("{error}{cause}"))
        })?;
        let client_id = client.id.to_string();
        match issuer.clients().add_client(client).await {
            Ok(true) => {}
            Ok(false) => {
                let message = format!("a client with the id {client_id} exists; choose another id");
                return Err(OperationError::new(Kind::Refused, message));
            }
            Err(error) => return Err(OperationError::internal(&error)),
        }
        let client_secret = secret.map(|secret| secret.expose().to_owned());
        let metadata = issuer.url().join(crate::issuer::discovery::paths::METADATA);
        Ok(Response { client_id, client_secret, metadata })
    }
}
