//! DNS lookups with hickory-resolver: the verification of domains.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use crate::tenant::verification::{DnsTxt, DnsUnavailable};

/// One lookup may take this long on one name server.
const PATIENCE: Duration = Duration::from_secs(5);

/// A resolver without a cache: who just wrote a record wants it seen.
pub struct Resolver(TokioResolver);

impl Resolver {
    /// Asks `server` (the setting `gateway.dns_resolver`), or the name servers of the system.
    pub fn new(server: Option<SocketAddr>) -> Result<Self, DnsUnavailable> {
        let failed = |source: NetError| DnsUnavailable { name: "the system".to_owned(), source: Box::new(source) };
        let mut builder = match server {
            Some(server) => {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                let server = NameServerConfig::new(server.ip(), true, connections.into());
                let config = ResolverConfig::from_name_servers(vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
            None => TokioResolver::builder_tokio().map_err(failed)?,
        };
        let options = builder.options_mut();
        options.cache_size = 0;
        options.timeout = PATIENCE;
        options.attempts = 2;
        Ok(Self(builder.build().map_err(failed)?))
    }
}

#[async_trait]
impl DnsTxt for Resolver {
    async fn texts(&self, name: &str) -> Result<Vec<String>, DnsUnavailable> {
        // The final dot keeps the resolver from trying the system's search domains.
        match self.0.txt_lookup(format!("{name}.")).await {
            Ok(found) => Ok(found.answers().iter().filter_map(|record| text(&record.data)).collect()),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(source) => Err(DnsUnavailable { name: name.to_owned(), source: Box::new(source) }),
        }
    }
}

/// A record's character strings make one text (RFC 7208, section 3.3).
fn text(data: &RData) -> Option<String> {
    match data {
        RData::TXT(txt) => {
            let parts = txt.txt_data.iter().map(|part| String::from_utf8_lossy(part));
            Some(parts.collect())
        }
        _ => None,
    }
}
