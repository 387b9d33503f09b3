//! New certificates in time: at two thirds of the old one's life, or as soon as the machine is back after it ended.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_proto::GatewayNode;
use agent_proto::enrolment::{RENEW_PATH, Renew};
use rand::seq::SliceRandom as _;
use tokio::sync::watch;

use super::super::SOFTWARE;
use super::http::{self, RequestError};
use super::identity::{Identity, IdentityError, Keys};
use super::tls::{ConnectError, Dialler};
use crate::identity::{Clock, causes};

/// Between two looks at the clock. Short, because a machine that slept does not count the time that it slept.
const LOOK: Duration = Duration::from_secs(5);
/// After a renewal that failed.
const RETRY: Duration = Duration::from_secs(30);

pub struct Renewal {
    pub state: PathBuf,
    pub clock: Arc<dyn Clock>,
    pub identity: watch::Sender<Arc<Identity>>,
    pub nodes: watch::Receiver<Vec<GatewayNode>>,
}

#[derive(Debug, thiserror::Error)]
enum RenewalError {
    #[error("no node renews the certificate")]
    Request(#[from] RequestError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the request holds too much")]
    TooLong(#[from] agent_proto::EncodeError),
    #[error("no address of a node is known")]
    NoNode,
}

impl Renewal {
    /// Renews for ever. To be dropped when the agent stops.
    pub async fn run(self) {
        loop {
            let identity = self.identity.borrow().clone();
            let pause = if identity.wants_renewal(self.clock.now()) {
                match self.renew(&identity).await {
                    Ok(new) => {
                        tracing::info!(ends = %new.ends, "the agent's certificate is renewed");
                        self.identity.send_replace(Arc::new(new));
                        LOOK
                    }
                    Err(error) => {
                        tracing::warn!(error = causes(&error), ends = %identity.ends, "the agent's certificate could not be renewed yet");
                        RETRY
                    }
                }
            } else {
                LOOK
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn renew(&self, old: &Identity) -> Result<Identity, RenewalError> {
        let keys = Keys::generate()?;
        let body = Renew { keys: keys.request()?, software: SOFTWARE.to_owned() }.encode()?;
        let dialler = Dialler::of(old)?;
        let mut urls: Vec<String> = self.nodes.borrow().iter().map(|node| node.url.clone()).collect();
        urls.shuffle(&mut rand::rng());
        if !urls.contains(&old.first_url) {
            urls.push(old.first_url.clone());
        }
        let mut failure = RenewalError::NoNode;
        for url in urls {
            let Ok(address) = url.parse() else { continue };
            match http::ask(&dialler, &address, RENEW_PATH, body.clone()).await {
                Ok(enrolled) => {
                    let (new, _) = Identity::enrolled(enrolled, keys, old.pin, old.first_url.clone())?;
                    new.save(&self.state)?;
                    return Ok(new);
                }
                Err(error) => failure = error.into(),
            }
        }
        Err(failure)
    }
}
