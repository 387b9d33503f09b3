//! The routes of the agents' listener: enrolment, renewal, connection.

use std::sync::Arc;
use std::time::Duration;

use agent_proto::enrolment::{CONNECT_PATH, ENROL_PATH, Enrol, Enrolled, MEDIA_TYPE, RENEW_PATH, Renew};
use agent_proto::{EnrolmentToken, MAX_MESSAGE};
use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, Extension, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::admission::{self, AuthenticatedAgent, NotAdmitted};
use super::authority::{AgentAuthority, AuthorityError};
use super::connection;
use super::listener::PeerCertificate;
use super::registry::{Agent, AgentRegistry, RegistryDown, TokenUse};
use super::room::Broker;
use crate::agents::Calling;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{AgentId, Clock, ConnectorName, DomainName, causes, shown};

/// What lets agents in.
pub struct Gate {
    pub registry: Arc<dyn AgentRegistry>,
    pub authority: Arc<AgentAuthority>,
    pub broker: Broker,
    pub clock: Arc<dyn Clock>,
    /// How long a certificate counts.
    pub lifetime: Duration,
    /// How long after its end a certificate may still be renewed.
    pub grace: Duration,
}

pub(super) fn router(gate: Arc<Gate>) -> Router {
    Router::new()
        .route(ENROL_PATH, post(enrol))
        .route(RENEW_PATH, post(renew))
        .layer(middleware::from_fn(in_time))
        .route(CONNECT_PATH, get(connect))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE))
        .with_state(gate)
}

/// For a request with its body, and the answer. Whoever sends a byte now and then holds a place no longer.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let text = format!("the request took longer than {} seconds", REQUEST_DEADLINE.as_secs());
            // What is left of the body is read by nobody.
            (StatusCode::REQUEST_TIMEOUT, [(header::CONNECTION, "close")], text).into_response()
        }
    }
}

/// Why an agent is turned away. What it is told is for the operator at its machine.
#[derive(Debug, thiserror::Error)]
enum Turned {
    #[error("the request is not understood; agent and gateway may be of releases too far apart")]
    Malformed,
    #[error("the enrolment token is unknown, used, or expired: make a new one with `landbridge agents token`")]
    Token,
    #[error("the certificate was made lately and needs no renewal yet; was this machine copied?")]
    TooEarly,
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Registry(#[from] RegistryDown),
}

impl IntoResponse for Turned {
    fn into_response(self) -> Response {
        let (status, text) = match &self {
            Self::Malformed => (StatusCode::BAD_REQUEST, self.to_string()),
            Self::Authority(error) if error.is_refusal() => (StatusCode::BAD_REQUEST, causes(error)),
            Self::Token | Self::TooEarly => (StatusCode::FORBIDDEN, self.to_string()),
            Self::NotAdmitted(NotAdmitted::Registry(_)) | Self::Registry(_) | Self::Authority(_) => {
                tracing::error!(error = causes(&self), "an agent could not be let in");
                (StatusCode::SERVICE_UNAVAILABLE, "the gateway cannot do it now; try again".to_owned())
            }
            Self::NotAdmitted(refusal) => (StatusCode::FORBIDDEN, refusal.to_string()),
        };
        if status != StatusCode::SERVICE_UNAVAILABLE {
            metrics::counter!("landbridge_agents_turned_away_total").increment(1);
            tracing::warn!(reason = text, "an agent was turned away");
        }
        (status, text).into_response()
    }
}

/// A certificate is not renewed in the first such part of its life: an agent does it in the last.
const TOO_EARLY: u32 = 4;

async fn enrol(State(gate): State<Arc<Gate>>, body: Bytes) -> Result<Response, Turned> {
    let request = Enrol::decode(&body).map_err(|_| Turned::Malformed)?;
    let secret_hash = hex::encode(EnrolmentToken::secret_hash(&request.secret));
    let now = gate.clock.now();
    let token = gate.registry.token(&secret_hash, now).await?.ok_or(Turned::Token)?;
    let id = AgentId::random();
    let (der, certificate) = gate.authority.certify(&request.keys, id, now, now + gate.lifetime)?;
    let agent = Agent {
        id,
        calling: token.calling,
        host: shown(&request.host, connection::LONGEST_NAME),
        software: shown(&request.software, connection::LONGEST_NAME),
        enrolled_at: now,
        seen_at: None,
        draining: false,
        revoked_at: None,
        certificate_ends: Some(certificate.expires_at),
    };
    let event = about(EventKind::AgentEnrolled, &agent).with("token-by", token.created_by);
    let answer = gate.admitted(&agent, der);
    match gate.registry.enrol(&secret_hash, agent, certificate, event).await? {
        TokenUse::Taken => answered(&answer),
        TokenUse::UsedBefore => Err(Turned::Token),
    }
}

async fn renew(
    State(gate): State<Arc<Gate>>,
    Extension(peer): Extension<PeerCertificate>,
    body: Bytes,
) -> Result<Response, Turned> {
    let now = gate.clock.now();
    let (agent, shown) = admission::renewing(&*gate.registry, peer.der(), gate.grace, now).await?;
    if now < shown.issued_at + gate.lifetime / TOO_EARLY {
        return Err(Turned::TooEarly);
    }
    let request = Renew::decode(&body).map_err(|_| Turned::Malformed)?;
    let (der, certificate) = gate.authority.certify(&request.keys, agent.id, now, now + gate.lifetime)?;
    gate.registry.renew(certificate, about(EventKind::AgentRenewed, &agent)).await?;
    answered(&gate.admitted(&agent, der))
}

async fn connect(
    State(gate): State<Arc<Gate>>,
    Extension(peer): Extension<PeerCertificate>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Turned> {
    let now = gate.clock.now();
    let agent = AuthenticatedAgent::authenticate(&*gate.registry, peer.der(), now).await?;
    let broker = gate.broker.clone();
    Ok(connection::limited(upgrade).on_upgrade(move |socket| async move { broker.serve(socket, agent).await }))
}

fn about(kind: EventKind, agent: &Agent) -> Event {
    let event = Event::new(kind, Outcome::Success, Actor::System("agents".to_owned()))
        .about(agent.id)
        .with("host", agent.host.as_str());
    match &agent.calling {
        Calling::Checks { connector, domains } => event
            .with("connector", connector.as_str())
            .with("domains", domains.iter().map(DomainName::as_str).collect::<Vec<_>>()),
        Calling::Synchronise { connectors } => {
            event.with("synchronises", connectors.iter().map(ConnectorName::as_str).collect::<Vec<_>>())
        }
    }
}

impl Gate {
    fn admitted(&self, agent: &Agent, certificate: Vec<u8>) -> Enrolled {
        let (connector, domains, synchronised) = agent.calling.to_wire();
        Enrolled {
            agent: agent_proto::AgentId::new(agent.id.uuid().into_bytes()),
            connector,
            domains,
            certificate,
            nodes: self.broker.0.nodes.borrow().clone(),
            synchronised,
        }
    }
}

fn answered(answer: &Enrolled) -> Result<Response, Turned> {
    let body = answer.encode().map_err(|_| Turned::Malformed)?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response())
}
