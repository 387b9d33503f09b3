//! The servers of a directory and the account that is bound there.

use std::time::Duration;

use crate::identity::ConnectorName;
use crate::ldap::{Connection, ServerUrl, ServiceAccount, Trust};
use crate::sync::connector::ConnectorError;

#[derive(Clone, Copy, Debug)]
pub(in crate::connectors) struct Servers<'a> {
    pub name: &'a ConnectorName,
    /// In order of preference.
    pub servers: &'a [ServerUrl],
    pub trust: &'a Trust,
    pub account: &'a ServiceAccount,
    pub deadline: Duration,
}

impl Servers<'_> {
    /// The first server that answers, bound.
    pub async fn connect(self) -> Result<Connection, ConnectorError> {
        let mut last = None;
        for server in self.servers {
            match Connection::open(server, self.trust, self.deadline).await {
                Ok(mut connection) => match connection.bind(self.account).await {
                    Ok(()) => return Ok(connection),
                    Err(error) => {
                        let is_final = error.refuses_account();
                        last = Some(error);
                        if is_final {
                            break;
                        }
                    }
                },
                Err(error) => last = Some(error),
            }
        }
        let reason = last.map_or_else(|| "no server is configured".to_owned(), |error| error.told());
        Err(ConnectorError::Unreachable { connector: self.name.clone(), reason })
    }
}
