//! `[gateway]`, `[store]`, `[admin]`: where the gateway listens, keeps its data, and who may administer it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::identity::{DomainName, NodeId, Role, Upn};

use super::database_url::DatabaseUrl;
use super::reader::Table;
use super::secret::check_mode;
use super::words::setting_words;

/// Balancers look every second or two, and twice before they believe.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// The name of this node; audit numbers are gapless per node.
    pub node: NodeId,
    /// What people see as the name of the organisation.
    pub organisation: String,
    /// The address of the gateway as browsers and applications know it: the issuer, without a path.
    pub public_url: url::Url,
    pub listen: SocketAddr,
    /// Balancers that begin each connection with a PROXY header (version 2); their own address counts for nobody.
    pub proxy_protocol_from: Vec<IpAddr>,
    /// How long a stopping node goes on answering after `/readyz` says that it leaves: longer than balancers take to notice.
    pub drain: Duration,
    /// PEM: the certificate chain and the private key of `public_url`'s host.
    pub certificate: PathBuf,
    pub private_key: PathBuf,
    /// Prometheus metrics, off when absent.
    pub metrics_listen: Option<SocketAddr>,
    /// The domain that is always verified and managed; effective names fall back to it.
    pub initial_domain: DomainName,
    /// Name server for domain verification; the system's when absent.
    pub dns_resolver: Option<SocketAddr>,
}

impl GatewaySettings {
    pub(super) fn read(table: Table<'_>) -> Option<Self> {
        let node = if table.has("node") {
            table.parsed("node", "use letters, digits, `.`, `-` and `_`")
        } else {
            "node1".parse().ok()
        };
        let organisation = table.text("organisation").map_or_else(|| "Landbridge".to_owned(), |text| text.into_owned());
        let public_url = table
            .required::<url::Url>(
                "public_url",
                "give the https address of the gateway, such as https://login.example.org",
            )
            .and_then(|url| {
                let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
                if url.scheme() == "https" && url.has_host() && bare && url.username().is_empty() {
                    return Some(url);
                }
                table.complain("public_url", "the public address must be https, without path", "correct the address");
                None
            });
        let listen = table.required("listen", "give an address and a port, such as 0.0.0.0:8443");
        let remedy = "give the addresses of the balancers that speak the PROXY protocol, such as \"192.0.2.10\"";
        let balancers = table.list::<IpAddr>("proxy_protocol_from", remedy);
        let balanced = if balancers.is_empty() { Duration::ZERO } else { DRAIN };
        let drain = table.duration("drain", Duration::ZERO..=Duration::from_secs(300)).unwrap_or(balanced);
        let certificate = table.path("certificate");
        let private_key = table.path("private_key");
        for (key, path) in [("certificate", &certificate), ("private_key", &private_key)] {
            match path {
                None => table.complain(key, "the key is missing", "give the path of a PEM file"),
                Some(path) if !path.is_file() => {
                    let what = format!("there is no file {}", path.display());
                    table.complain(key, what, "create it or correct the path (certs/ has a script for development)");
                }
                Some(path) if key == "private_key" => check_mode(&table, key, path),
                Some(_) => {}
            }
        }
        let metrics_listen = table.parsed("metrics_listen", "give an address and a port, such as 127.0.0.1:9464");
        let initial_domain =
            table.required("initial_domain", "give a domain of the gateway's own, such as example.landbridge.internal");
        // Effective names are made in it, whatever the directory holds: a name in it must be one that users can have.
        let initial_domain = initial_domain.filter(|domain: &DomainName| {
            let fits = Upn::new("a", domain.clone()).is_ok();
            if !fits {
                table.complain(
                    "initial_domain",
                    "no user name fits into this domain",
                    "give one of at most 48 characters",
                );
            }
            fits
        });
        let dns_resolver = table.parsed("dns_resolver", "give the address and port of a name server");
        table.finish();
        Some(Self {
            node: node?,
            organisation,
            public_url: public_url?,
            listen: listen?,
            proxy_protocol_from: balancers.iter().map(IpAddr::to_canonical).collect(),
            drain,
            certificate: certificate?,
            private_key: private_key?,
            metrics_listen,
            initial_domain: initial_domain?,
            dns_resolver,
        })
    }
}

setting_words! {
    /// What stored password hashes end in (design D7).
    Hardening {
        /// Argon2id, computed in the background after a bulk pass.
        Argon2id = "argon2id",
        /// The seal alone: for a thousand sign-ins a second on few cores.
        Sealed = "sealed",
    } "argon2id, sealed"
}

#[derive(Clone, Debug)]
pub struct StoreSettings {
    pub url: DatabaseUrl,
    /// The file with the keys that seal credentials and signing keys; kept apart from the store and its backups.
    pub key_ring: PathBuf,
    pub hardening: Hardening,
}

impl StoreSettings {
    pub(super) fn read(table: Table<'_>) -> Option<Self> {
        let folder = table.source().folder();
        let url = table.required::<DatabaseUrl>("url", "write sqlite:DIRECTORY or postgres://USER@HOST/DATABASE").map(
            |url| match url {
                DatabaseUrl::Sqlite { directory } => DatabaseUrl::Sqlite { directory: folder.join(directory) },
                postgres @ DatabaseUrl::Postgres { .. } => postgres,
            },
        );
        let key_ring = table.path("key_ring");
        if key_ring.is_none() {
            table.complain(
                "key_ring",
                "the key is missing",
                "give the path of the key ring; `landbridge init` makes it",
            );
        }
        let hardening = table.parsed("hardening", "write argon2id or sealed").unwrap_or(Hardening::Argon2id);
        table.finish();
        Some(Self { url: url?, key_ring: key_ring?, hardening })
    }
}

/// Somebody who may administer, known by the uid of the process that opens the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminPrincipal {
    pub name: String,
    pub uid: u32,
    pub role: Role,
}

#[derive(Clone, Debug)]
pub struct AdminSettings {
    pub socket: PathBuf,
    pub principals: Vec<AdminPrincipal>,
}

impl AdminSettings {
    pub(super) fn read(table: Table<'_>) -> Option<Self> {
        let socket = table.path("socket");
        if socket.is_none() {
            table.complain("socket", "the key is missing", "give the path of the admin socket to create");
        }
        let mut principals: Vec<AdminPrincipal> = Vec::new();
        for principal in table.tables("principals") {
            let name = principal.text("name").map(|name| name.into_owned());
            if name.is_none() {
                principal.complain("name", "the key is missing", "name the principal; the audit log shows it");
            }
            let uid = principal.number("uid", 0..=u64::from(u32::MAX - 1));
            if uid.is_none() && !principal.has("uid") {
                principal.complain("uid", "the key is missing", "give the numeric user id of the operator");
            }
            let role: Option<RoleWord> =
                principal.required("role", "write owner, sign-in-admin, sync-admin, auditor or reader");
            let uid = uid.and_then(|uid| u32::try_from(uid).ok());
            if let (Some(name), Some(uid), Some(RoleWord(role))) = (name, uid, role) {
                if principals.iter().any(|other| other.uid == uid) {
                    principal.complain("uid", format!("uid {uid} is listed twice"), "keep one principal per uid");
                }
                principals.push(AdminPrincipal { name, uid, role });
            }
            principal.finish();
        }
        if principals.is_empty() {
            table.complain(
                "principals",
                "nobody may administer the gateway",
                "add an [[admin.principals]] with role owner",
            );
        }
        table.finish();
        Some(Self { socket: socket?, principals })
    }
}

struct RoleWord(Role);

impl std::str::FromStr for RoleWord {
    type Err = super::words::NotOneOf;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let role = match text {
            "owner" => Role::Owner,
            "sign-in-admin" => Role::SignInAdmin,
            "sync-admin" => Role::SyncAdmin,
            "auditor" => Role::Auditor,
            "reader" => Role::Reader,
            _ => return Err(super::words::NotOneOf("owner, sign-in-admin, sync-admin, auditor, reader")),
        };
        Ok(Self(role))
    }
}
