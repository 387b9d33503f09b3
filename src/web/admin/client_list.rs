//! `client.list`: the registered applications.

use serde::{Deserialize, Serialize};

use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::Timestamp;
use crate::issuer::{Algorithm, Client, Issuer, SubjectType};

pub struct ClientList;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {}

#[derive(Debug, Serialize, Deserialize)]
pub struct ClientEntry {
    pub client_id: String,
    pub name: String,
    pub public: bool,
    pub redirect_uris: Vec<String>,
    pub logout_uris: Vec<String>,
    pub subject_type: SubjectType,
    pub algorithm: Algorithm,
    pub created_at: Timestamp,
}

impl From<Client> for ClientEntry {
    fn from(client: Client) -> Self {
        Self {
            public: client.is_public(),
            client_id: client.id.into(),
            name: client.name,
            redirect_uris: client.redirect_uris.into_iter().map(String::from).collect(),
            logout_uris: client.logout_uris.into_iter().map(String::from).collect(),
            subject_type: client.subject_type,
            algorithm: client.algorithm,
            created_at: client.created_at,
        }
    }
}

impl Operation for ClientList {
    const NAME: &'static str = "client.list";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Vec<ClientEntry>;
    type Gateway = Issuer;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(issuer: &Issuer, _: &AdminSession, _: Request) -> Result<Vec<ClientEntry>, OperationError> {
        let clients = issuer.clients().clients().await.map_err(|error| OperationError::internal(&error))?;
        Ok(clients.into_iter().map(ClientEntry::from).collect())
    }
}
