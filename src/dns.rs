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

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
    use hickory_resolver::proto::rr::rdata::TXT;
    use hickory_resolver::proto::rr::{Name, Record};
    use tokio::net::UdpSocket;

    /// A name server that knows one TXT record, in two character strings.
    async fn name_server() -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("an address");
        let known: Name = "_landbridge-challenge.verified.example.".parse().expect("a name");
        let served = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                let mut answer = Message::from_vec(&buffer[..length]).expect("a query");
                answer.metadata.message_type = MessageType::Response;
                if answer.queries[0].name() == &known {
                    let texts = TXT::new(vec!["landbridge-".to_owned(), "verification=7".to_owned()]);
                    answer.add_answer(Record::from_rdata(known.clone(), 60, RData::TXT(texts)));
                } else {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                let bytes = answer.to_vec().expect("an answer");
                socket.send_to(&bytes, peer).await.expect("the resolver waits");
            }
        });
        (address, served)
    }

    #[tokio::test]
    async fn texts_are_put_together_and_a_missing_name_has_none() {
        let (address, served) = name_server().await;
        let resolver = Resolver::new(Some(address)).expect("a resolver");
        let texts = resolver.texts("_landbridge-challenge.verified.example").await.expect("an answer");
        assert_eq!(texts, ["landbridge-verification=7"]);
        let none = resolver.texts("_landbridge-challenge.other.example").await.expect("an answer");
        assert_eq!(none, Vec::<String>::new());
        served.abort();
    }
}
