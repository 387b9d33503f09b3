//! Pass-through agents and sync servers on SQL.

use agent_proto::GatewayNode;
use agent_proto::answer::VerifyingKey;
use agent_proto::sealed::SealingKey;
use async_trait::async_trait;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::audit::AuditLog;
use super::connection::Connection;
use super::database::Database;
use super::error::StoreError;
use super::writer::Urgency;
use crate::agents::Calling;
use crate::agents::broker::registry::{
    Agent, AgentCertificate, AgentRegistry, Fingerprint, Notices, RegistryDown, Shown, StoredToken, TokenUse,
};
use crate::audit::Event;
use crate::identity::{AgentId, NodeId, Timestamp};

/// The tables of agents. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AgentTables {
    db: Database,
    audit: AuditLog,
}

impl AgentTables {
    pub fn new(db: Database, audit: AuditLog) -> Self {
        Self { db, audit }
    }

    /// Runs one statement on the rows of `agent`; whether a row was there.
    async fn change(&self, sql: &'static str, agent: AgentId, value: i64) -> Result<bool, RegistryDown> {
        let agent = agent.to_string();
        let changed: Result<bool, StoreError> = self
            .db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let done = sqlx::query(sql).bind(agent).bind(value).execute(conn).await;
                    let done = done.map_err(StoreError::doing("changing an agent"))?;
                    Ok(done.rows_affected() > 0)
                })
            })
            .await;
        changed.map_err(down)
    }
}

const AGENT: &str = "SELECT a.id, a.connector, a.domains, a.synchronised, a.host, a.software, a.enrolled_at, a.seen_at, a.draining, a.revoked_at, \
     (SELECT MAX(n.expires_at) FROM agent_certificate n WHERE n.agent = a.id) AS certificate_ends";

#[async_trait]
impl AgentRegistry for AgentTables {
    async fn add_token(&self, token: StoredToken) -> Result<(), RegistryDown> {
        let calling = StoredCalling::of(&token.calling).map_err(|error| RegistryDown(Box::new(error)))?;
        let added: Result<(), StoreError> = self
            .db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO agent_token \
                         (secret_hash, connector, domains, created_by, created_at, expires_at, synchronised) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7)",
                    )
                    .bind(token.secret_hash)
                    .bind(calling.connector)
                    .bind(calling.domains)
                    .bind(token.created_by)
                    .bind(token.created_at.millis())
                    .bind(token.expires_at.millis())
                    .bind(calling.synchronised)
                    .execute(conn)
                    .await
                    .map_err(StoreError::doing("storing an enrolment token"))?;
                    Ok(())
                })
            })
            .await;
        added.map_err(down)
    }

    async fn token(&self, secret_hash: &str, now: Timestamp) -> Result<Option<StoredToken>, RegistryDown> {
        let row = sqlx::query(
            "SELECT secret_hash, connector, domains, created_by, created_at, expires_at, synchronised FROM agent_token \
             WHERE secret_hash = $1 AND used_at IS NULL AND expires_at > $2",
        )
        .bind(secret_hash)
        .bind(now.millis())
        .fetch_optional(self.db.read())
        .await
        .map_err(StoreError::doing("reading an enrolment token"))
        .map_err(down)?;
        row.as_ref().map(read_token).transpose().map_err(down)
    }

    async fn enrol(
        &self,
        secret_hash: &str,
        agent: Agent,
        certificate: AgentCertificate,
        event: Event,
    ) -> Result<TokenUse, RegistryDown> {
        let calling = StoredCalling::of(&agent.calling).map_err(|error| RegistryDown(Box::new(error)))?;
        let (audit, secret_hash) = (self.audit.clone(), secret_hash.to_owned());
        let enrolled: Result<TokenUse, StoreError> = self
            .db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let used = sqlx::query(
                        "UPDATE agent_token SET used_at = $2, used_by = $3 \
                         WHERE secret_hash = $1 AND used_at IS NULL AND expires_at > $2",
                    )
                    .bind(secret_hash)
                    .bind(agent.enrolled_at.millis())
                    .bind(agent.id.to_string())
                    .execute(&mut *conn)
                    .await
                    .map_err(StoreError::doing("using an enrolment token"))?;
                    if used.rows_affected() == 0 {
                        return Ok(TokenUse::UsedBefore);
                    }
                    sqlx::query(
                        "INSERT INTO agent (id, connector, domains, host, software, enrolled_at, draining, synchronised) \
                         VALUES ($1, $2, $3, $4, $5, $6, 0, $7)",
                    )
                    .bind(agent.id.to_string())
                    .bind(calling.connector)
                    .bind(calling.domains)
                    .bind(agent.host)
                    .bind(agent.software)
                    .bind(agent.enrolled_at.millis())
                    .bind(calling.synchronised)
                    .execute(&mut *conn)
                    .await
                    .map_err(StoreError::doing("adding an agent"))?;
                    add_certificate(conn, &certificate).await?;
                    audit.append(conn, event).await?;
                    Ok(TokenUse::Taken)
                })
            })
            .await;
        enrolled.map_err(down)
    }

    async fn shown(&self, fingerprint: &Fingerprint) -> Result<Option<Shown>, RegistryDown> {
        let sql = format!(
            "{AGENT}, c.fingerprint, c.issued_at, c.expires_at, c.sealing_key, c.verifying_key, c.superseded_at \
             FROM agent_certificate c JOIN agent a ON a.id = c.agent WHERE c.fingerprint = $1"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(fingerprint.as_str())
            .fetch_optional(self.db.read())
            .await
            .map_err(StoreError::doing("reading an agent's certificate"))
            .map_err(down)?;
        let shown = |row: &AnyRow| {
            let superseded = row.get::<Option<i64>, _>("superseded_at").is_some();
            Ok(Shown { agent: read_agent(row)?, certificate: read_certificate(row)?, superseded })
        };
        row.as_ref().map(shown).transpose().map_err(down)
    }

    async fn renew(&self, certificate: AgentCertificate, event: Event) -> Result<(), RegistryDown> {
        let audit = self.audit.clone();
        let renewed: Result<(), StoreError> = self
            .db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    // Certificates that renewal itself no longer takes are of no use to anybody.
                    sqlx::query("DELETE FROM agent_certificate WHERE agent = $1 AND superseded_at IS NOT NULL")
                        .bind(certificate.agent.to_string())
                        .execute(&mut *conn)
                        .await
                        .map_err(StoreError::doing("removing an agent's old certificates"))?;
                    // Of those that were made and never used, the newest two may still be on their way.
                    sqlx::query(
                        "DELETE FROM agent_certificate WHERE agent = $1 AND fingerprint NOT IN \
                         (SELECT fingerprint FROM agent_certificate WHERE agent = $1 ORDER BY issued_at DESC LIMIT 2) \
                         AND issued_at > (SELECT MIN(issued_at) FROM agent_certificate WHERE agent = $1)",
                    )
                    .bind(certificate.agent.to_string())
                    .execute(&mut *conn)
                    .await
                    .map_err(StoreError::doing("removing an agent's unused certificates"))?;
                    add_certificate(conn, &certificate).await?;
                    audit.append(conn, event).await?;
                    Ok(())
                })
            })
            .await;
        renewed.map_err(down)
    }

    async fn connected(
        &self,
        agent: AgentId,
        fingerprint: &Fingerprint,
        host: &str,
        software: &str,
        at: Timestamp,
    ) -> Result<(), RegistryDown> {
        let (agent, fingerprint) = (agent.to_string(), fingerprint.clone());
        let (host, software) = (host.to_owned(), software.to_owned());
        let written: Result<(), StoreError> = self
            .db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    sqlx::query("UPDATE agent SET seen_at = $2, host = $3, software = $4 WHERE id = $1")
                        .bind(agent.as_str())
                        .bind(at.millis())
                        .bind(host)
                        .bind(software)
                        .execute(&mut *conn)
                        .await
                        .map_err(StoreError::doing("noting an agent's connection"))?;
                    sqlx::query(
                        "UPDATE agent_certificate SET superseded_at = $3 \
                         WHERE agent = $1 AND fingerprint <> $2 AND superseded_at IS NULL AND issued_at <= \
                         (SELECT n.issued_at FROM agent_certificate n WHERE n.fingerprint = $2)",
                    )
                    .bind(agent)
                    .bind(fingerprint.as_str())
                    .bind(at.millis())
                    .execute(conn)
                    .await
                    .map_err(StoreError::doing("superseding an agent's certificates"))?;
                    Ok(())
                })
            })
            .await;
        written.map_err(down)
    }

    async fn agents(&self) -> Result<Vec<Agent>, RegistryDown> {
        let sql = format!("{AGENT} FROM agent a ORDER BY a.connector, a.host, a.id");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(self.db.read())
            .await
            .map_err(StoreError::doing("reading the agents"))
            .map_err(down)?;
        rows.iter().map(read_agent).collect::<Result<_, _>>().map_err(down)
    }

    async fn note_feed_read(&self, agent: AgentId, number: i64) -> Result<(), RegistryDown> {
        // A rebuilt sync server begins anew, with an older number.
        let sql = "UPDATE agent SET feed_read = $2 WHERE id = $1 AND (feed_read IS NULL OR feed_read <> $2)";
        self.change(sql, agent, number).await.map(drop)
    }

    async fn feed_read(&self) -> Result<Option<i64>, RegistryDown> {
        let row = sqlx::query(
            "SELECT MIN(COALESCE(feed_read, 0)) AS number FROM agent WHERE synchronised IS NOT NULL AND revoked_at IS NULL",
        )
        .fetch_one(self.db.read())
        .await
        .map_err(StoreError::doing("reading what sync servers have read"))
        .map_err(down)?;
        Ok(row.get::<Option<i64>, _>("number").filter(|number| *number > 0))
    }

    async fn revoke(&self, agent: AgentId, at: Timestamp) -> Result<bool, RegistryDown> {
        let sql = "UPDATE agent SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
        self.change(sql, agent, at.millis()).await
    }

    async fn set_draining(&self, agent: AgentId, draining: bool) -> Result<bool, RegistryDown> {
        let sql = "UPDATE agent SET draining = $2 WHERE id = $1 AND revoked_at IS NULL";
        self.change(sql, agent, i64::from(draining)).await
    }

    async fn report_node(&self, node: &NodeId, url: &str, at: Timestamp) -> Result<(), RegistryDown> {
        let (node, url) = (node.clone(), url.to_owned());
        let reported: Result<(), StoreError> = self
            .db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO gateway_node (node, agent_url, seen_at) VALUES ($1, $2, $3) \
                         ON CONFLICT (node) DO UPDATE SET agent_url = $2, seen_at = $3",
                    )
                    .bind(node.as_str())
                    .bind(url)
                    .bind(at.millis())
                    .execute(conn)
                    .await
                    .map_err(StoreError::doing("reporting the node"))?;
                    Ok(())
                })
            })
            .await;
        reported.map_err(down)
    }

    async fn notices(&self, alive_since: Timestamp) -> Result<Notices, RegistryDown> {
        let reading = StoreError::doing("reading what concerns open connections of agents");
        let rows = sqlx::query(
            "SELECT 'revoked' AS kind, id AS subject, '' AS value FROM agent WHERE revoked_at IS NOT NULL \
             UNION ALL SELECT 'draining', id, '' FROM agent WHERE draining = 1 AND revoked_at IS NULL \
             UNION ALL SELECT 'node', node, agent_url FROM gateway_node WHERE seen_at >= $1",
        )
        .bind(alive_since.millis())
        .fetch_all(self.db.read())
        .await
        .map_err(reading)
        .map_err(down)?;
        let mut notices = Notices::default();
        for row in &rows {
            match row.get::<String, _>("kind").as_str() {
                "revoked" => notices.revoked.push(parsed(row, "agent", "subject").map_err(down)?),
                "draining" => notices.draining.push(parsed(row, "agent", "subject").map_err(down)?),
                _ => notices.nodes.push(GatewayNode { name: row.get("subject"), url: row.get("value") }),
            }
        }
        notices.nodes.sort();
        Ok(notices)
    }
}

async fn add_certificate(conn: &mut Connection, certificate: &AgentCertificate) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO agent_certificate (fingerprint, agent, issued_at, expires_at, sealing_key, verifying_key) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(certificate.fingerprint.as_str())
    .bind(certificate.agent.to_string())
    .bind(certificate.issued_at.millis())
    .bind(certificate.expires_at.millis())
    .bind(hex::encode(certificate.sealing.bytes()))
    .bind(hex::encode(certificate.verifying.bytes()))
    .execute(conn)
    .await
    .map_err(StoreError::doing("adding an agent's certificate"))?;
    Ok(())
}

/// A calling as its columns hold it.
struct StoredCalling {
    connector: String,
    domains: String,
    synchronised: Option<String>,
}

impl StoredCalling {
    fn of(calling: &Calling) -> Result<Self, serde_json::Error> {
        Ok(match calling {
            Calling::Checks { connector, domains } => {
                Self { connector: connector.to_string(), domains: serde_json::to_string(domains)?, synchronised: None }
            }
            Calling::Synchronise { connectors } => Self {
                connector: String::new(),
                domains: "[]".to_owned(),
                synchronised: Some(serde_json::to_string(connectors)?),
            },
        })
    }
}

fn read_calling(row: &AnyRow, table: &'static str) -> Result<Calling, StoreError> {
    match row.get::<Option<String>, _>("synchronised") {
        Some(text) => {
            let connectors = serde_json::from_str(&text).map_err(unreadable(table, "synchronised"))?;
            Ok(Calling::Synchronise { connectors })
        }
        None => Ok(Calling::Checks {
            connector: parsed(row, table, "connector")?,
            domains: serde_json::from_str(row.get("domains")).map_err(unreadable(table, "domains"))?,
        }),
    }
}

fn read_token(row: &AnyRow) -> Result<StoredToken, StoreError> {
    Ok(StoredToken {
        secret_hash: row.get("secret_hash"),
        calling: read_calling(row, "agent_token")?,
        created_by: row.get("created_by"),
        created_at: Timestamp::from_millis(row.get("created_at")),
        expires_at: Timestamp::from_millis(row.get("expires_at")),
    })
}

fn read_agent(row: &AnyRow) -> Result<Agent, StoreError> {
    let time = |column| row.get::<Option<i64>, _>(column).map(Timestamp::from_millis);
    Ok(Agent {
        id: parsed(row, "agent", "id")?,
        calling: read_calling(row, "agent")?,
        host: row.get("host"),
        software: row.get("software"),
        enrolled_at: Timestamp::from_millis(row.get("enrolled_at")),
        seen_at: time("seen_at"),
        draining: row.get::<i64, _>("draining") != 0,
        revoked_at: time("revoked_at"),
        certificate_ends: time("certificate_ends"),
    })
}

fn read_certificate(row: &AnyRow) -> Result<AgentCertificate, StoreError> {
    const TABLE: &str = "agent_certificate";
    let bytes = |column: &'static str| hex::decode(row.get::<String, _>(column)).map_err(unreadable(TABLE, column));
    let sealing = SealingKey::from_bytes(&bytes("sealing_key")?).map_err(unreadable(TABLE, "sealing_key"))?;
    let verifying = VerifyingKey::from_bytes(&bytes("verifying_key")?).map_err(unreadable(TABLE, "verifying_key"))?;
    Ok(AgentCertificate {
        fingerprint: Fingerprint::from_stored(row.get("fingerprint")),
        agent: parsed(row, "agent", "id")?,
        issued_at: Timestamp::from_millis(row.get("issued_at")),
        expires_at: Timestamp::from_millis(row.get("expires_at")),
        sealing,
        verifying,
    })
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    row: &AnyRow,
    table: &'static str,
    column: &'static str,
) -> Result<T, StoreError> {
    row.get::<String, _>(column).parse().map_err(unreadable(table, column))
}

fn unreadable<E: std::fmt::Display>(table: &'static str, column: &'static str) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Unreadable { table, column, reason: error.to_string() }
}

fn down(error: StoreError) -> RegistryDown {
    RegistryDown(Box::new(error))
}
