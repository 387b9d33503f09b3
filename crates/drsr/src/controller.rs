//! Which server is asked, and as whom.

use std::net::IpAddr;
use std::time::Duration;

use crate::password::Password;

/// A domain controller and how it is reached.
#[derive(Clone, Debug)]
pub struct Controller {
    /// A name or an address. Kerberos needs the full name by which the directory knows the server.
    pub host: String,
    /// Where to connect to, when the name does not say it by itself.
    pub address: Option<IpAddr>,
    pub endpoint_mapper_port: u16,
    /// The port of directory replication, for servers that have a fixed one: then the endpoint mapper is not asked.
    pub replication_port: Option<u16>,
    pub kerberos_port: u16,
    /// For one connection to be made.
    pub connect_deadline: Duration,
    /// For one call to be answered in full. A server may work ten seconds on a page before it sends the first byte.
    pub call_deadline: Duration,
    /// The most bytes that one answer may have. Servers are asked for 8 MiB a page and keep to it roughly; one object with
    /// large values may be above.
    pub reply_limit: usize,
    /// The most pages and bytes that one pass may have: a server that lies has always more to tell.
    pub pass_pages: u32,
    pub pass_bytes: u64,
}

impl Controller {
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            address: None,
            endpoint_mapper_port: 135,
            replication_port: None,
            kerberos_port: 88,
            connect_deadline: Duration::from_secs(5),
            call_deadline: Duration::from_secs(60),
            reply_limit: 64 << 20,
            // Some three million accounts.
            pass_pages: 100_000,
            pass_bytes: 4 << 30,
        }
    }
}

/// The account that replicates.
#[derive(Clone, Debug)]
pub struct Account {
    /// The domain: its NetBIOS or its DNS name for NTLM, its DNS name for Kerberos.
    pub domain: String,
    /// The account name (sAMAccountName).
    pub name: String,
    pub password: Password,
    pub sign_in: SignIn,
}

/// How the account proves itself. Either way everything is signed and encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// NTLM version 2 (MS-NLMP).
    Ntlm,
    /// Kerberos version 5 with AES (RFC 4120, MS-KILE); the controller itself is asked for the tickets.
    Kerberos,
}

impl Account {
    pub fn ntlm(domain: impl Into<String>, name: impl Into<String>, password: Password) -> Self {
        Self { domain: domain.into(), name: name.into(), password, sign_in: SignIn::Ntlm }
    }

    pub fn kerberos(domain: impl Into<String>, name: impl Into<String>, password: Password) -> Self {
        Self { domain: domain.into(), name: name.into(), password, sign_in: SignIn::Kerberos }
    }

    /// As it is shown to people.
    pub(crate) fn shown(&self) -> String {
        format!("{}\\{}", self.domain, self.name)
    }
}
