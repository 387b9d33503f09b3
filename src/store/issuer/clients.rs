//! Registered clients. Read at every use: never cached, so a removed address is refused at once on every node.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{IssuerStore, from_json, parsed, to_json};
use crate::identity::{ClientId, Timestamp};
use crate::issuer::opaque::OpaqueHash;
use crate::issuer::store::Clients;
use crate::issuer::{Client, ClientAuthentication, StoreDown};
use crate::store::{StoreError, Urgency};

const TABLE: &str = "client";

#[async_trait]
impl Clients for IssuerStore {
    async fn client(&self, id: &ClientId) -> Result<Option<Client>, StoreDown> {
        let row = sqlx::query("SELECT * FROM client WHERE client_id = $1")
            .bind(id.as_str().to_owned())
            .fetch_optional(self.db.lookups())
            .await
            .map_err(StoreError::doing("reading a client"))?;
        Ok(row.as_ref().map(read_client).transpose()?)
    }

    async fn clients(&self) -> Result<Vec<Client>, StoreDown> {
        let rows = sqlx::query("SELECT * FROM client ORDER BY client_id")
            .fetch_all(self.db.read())
            .await
            .map_err(StoreError::doing("reading the clients"))?;
        Ok(rows.iter().map(read_client).collect::<Result<_, _>>()?)
    }

    async fn add_client(&self, client: Client) -> Result<bool, StoreDown> {
        let secret_hash = match &client.authentication {
            ClientAuthentication::Public => None,
            ClientAuthentication::Secret(hash) => Some(hash.as_str().to_owned()),
        };
        let redirect_uris = to_json(TABLE, "redirect_uris", &client.redirect_uris)?;
        let logout_uris = to_json(TABLE, "logout_uris", &client.logout_uris)?;
        let added = self.db.write(Urgency::Waited, move |conn| {
            Box::pin(async move {
                let done = sqlx::query(
                    "INSERT INTO client (client_id, name, secret_hash, redirect_uris, logout_uris, subject_type, \
                     algorithm, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (client_id) DO NOTHING",
                )
                .bind(client.id.as_str())
                .bind(client.name.as_str())
                .bind(secret_hash)
                .bind(redirect_uris)
                .bind(logout_uris)
                .bind(client.subject_type.as_str())
                .bind(client.algorithm.as_str())
                .bind(client.created_at.millis())
                .execute(conn)
                .await
                .map_err(StoreError::doing("adding a client"))?;
                Ok::<_, StoreError>(done.rows_affected() == 1)
            })
        });
        Ok(added.await?)
    }
}

fn read_client(row: &AnyRow) -> Result<Client, StoreError> {
    let secret_hash: Option<String> = row.get("secret_hash");
    Ok(Client {
        id: parsed(TABLE, "client_id", row.get("client_id"))?,
        name: row.get("name"),
        authentication: match secret_hash {
            Some(hash) => ClientAuthentication::Secret(OpaqueHash::from_stored(hash)),
            None => ClientAuthentication::Public,
        },
        redirect_uris: from_json(TABLE, "redirect_uris", row.get("redirect_uris"))?,
        logout_uris: from_json(TABLE, "logout_uris", row.get("logout_uris"))?,
        subject_type: parsed(TABLE, "subject_type", row.get("subject_type"))?,
        algorithm: parsed(TABLE, "algorithm", row.get("algorithm"))?,
        created_at: Timestamp::from_millis(row.get("created_at")),
    })
}
