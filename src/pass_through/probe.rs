//! Asking a server without any user's input (design section 3, "Confirmed").

use tokio::time::Instant;

use super::absent;
use super::connector::Connector;
use super::server::Server;
use crate::ldap::{Connection, LdapError};
use crate::signin::ServerProbe;

const INVALID_CREDENTIALS: u32 = 49;

#[derive(Debug, thiserror::Error)]
enum ProbeFailure {
    #[error("{0}")]
    Ldap(#[from] LdapError),
    #[error("the bind of a name that nobody has gave result {code} ({diagnostic}), not 49")]
    WrongAnswer { code: u32, diagnostic: String },
    #[error("no answer within the probe's deadline")]
    Deadline,
}

impl Connector {
    /// Probes every server at once, each on a new connection: kept ones would not tell whether it takes new ones.
    pub async fn probe(&self) -> Vec<ServerProbe> {
        futures::future::join_all(self.servers.iter().map(|server| self.probe_server(server))).await
    }

    async fn probe_server(&self, server: &Server) -> ServerProbe {
        let begun = Instant::now();
        let deadline = self.settings.probe_deadline;
        let outcome = match tokio::time::timeout(deadline, self.ask_nothing(server)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ProbeFailure::Deadline),
        };
        match &outcome {
            Ok(()) => server.answered(),
            Err(_) => {
                server.failed(self.clock.now());
            }
        }
        let outcome = outcome.map(|()| begun.elapsed()).map_err(|failure| failure.to_string());
        ServerProbe { server: server.url.to_string(), outcome }
    }

    /// The service account's bind must give 0, the bind of a random absent name 49.
    async fn ask_nothing(&self, server: &Server) -> Result<(), ProbeFailure> {
        let settings = &self.settings;
        let mut connection = Connection::open(&server.url, &settings.trust, settings.probe_deadline).await?;
        connection.bind(&settings.account).await?;
        let name = absent::name(&settings.bases[0]);
        let answer = connection.simple_bind(&name, &absent::password(None)).await?;
        match answer.code {
            INVALID_CREDENTIALS => Ok(()),
            code => Err(ProbeFailure::WrongAnswer { code, diagnostic: answer.diagnostic }),
        }
    }
}
