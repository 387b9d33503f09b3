//! The public listener: which connections get in, and what answers them.

use std::time::Duration;

use axum::extract::ConnectInfo;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gateway::StartError;
use super::tls;
use crate::config::{LimitsSettings, PerNetwork, Settings};
use crate::limits::{Limits, Places, Rate};
use crate::listener::{self, Doors, open_files};
use crate::web::{self, ClientNetworks, Pace, Services};

/// How long open requests may take after the stop was asked for.
const DRAIN: Duration = Duration::from_secs(10);
/// Open files that are not the public listener's: the store, directories, agents, the admin socket.
const OTHER_FILES: u64 = 512;

/// Whether connections say where browsers are.
pub fn networks(settings: &Settings) -> ClientNetworks {
    match settings.limits.networks {
        PerNetwork::On => ClientNetworks::FromConnection,
        PerNetwork::Off => ClientNetworks::Hidden,
    }
}

/// What one network may ask of sign-in.
pub fn pace(settings: &Settings) -> Pace {
    Pace::new(Rate { per_minute: settings.limits.requests_per_minute, burst: settings.limits.requests_at_once })
}

/// Listens and answers until `close`; `served` is cancelled when the last connection has ended.
pub async fn open(
    settings: &Settings,
    services: Services,
    tasks: &TaskTracker,
    close: CancellationToken,
    served: CancellationToken,
) -> Result<(), StartError> {
    let server = tls::server(&settings.gateway.certificate, &settings.gateway.private_key);
    let acceptor = TlsAcceptor::from(server.map_err(StartError::part("TLS"))?);
    let address = settings.gateway.listen;
    let refuse = |source| StartError::Listen { address: address.to_string(), source };
    let socket = tokio::net::TcpListener::bind(address).await.map_err(refuse)?;
    let networks = settings.limits.networks == PerNetwork::On;
    let places = Places::new(places(&settings.limits, open_files::raise()));
    let balancers = settings.gateway.proxy_protocol_from.clone().into();
    let doors = Doors {
        name: "public",
        socket,
        acceptor,
        places,
        networks,
        balancers,
        linger: settings.gateway.drain,
        drain: DRAIN,
    };
    let router = web::router(services);
    tasks.spawn(async move {
        let _served = served.drop_guard();
        let answer = move |arrival: listener::Arrival, leaving| {
            let peer = ConnectInfo(arrival.peer);
            listener::serve(arrival, router.clone(), peer, leaving)
        };
        doors.serve(answer, close).await;
    });
    Ok(())
}

/// The places of the settings, as far as the process may open files for them.
fn places(settings: &LimitsSettings, open_files: u64) -> Limits {
    let possible = usize::try_from(open_files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).max(64);
    if possible < settings.connections {
        tracing::warn!(
            wanted = settings.connections,
            possible,
            "the system lets this process open fewer files than limits.connections asks for; raise its hard limit \
             (LimitNOFILE= of the systemd unit)"
        );
    }
    let all = settings.connections.min(possible);
    // Whatever the settings say, a single network does not get all that there is.
    Limits { all, per_network: settings.connections_per_network.min(all - all / 4) }
}
