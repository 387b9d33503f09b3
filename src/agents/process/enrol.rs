//! `landbridge agent enrol`.

use std::path::Path;

use agent_proto::EnrolmentToken;
use agent_proto::enrolment::{ENROL_PATH, Enrol};

use super::super::{Calling, SOFTWARE};
use super::http::{self, RequestError};
use super::identity::{Identity, IdentityError, Keys};
use super::nodes;
use super::tls::{ConnectError, Dialler};
use crate::identity::{Clock, ConnectorName};
use crate::os;

#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error("this machine is enrolled already as {}; remove that file to enrol it anew", .0.display())]
    EnrolledBefore(std::path::PathBuf),
    #[error("the token is for an {token}, the settings are of connector {settings}")]
    OtherConnector { token: Calling, settings: ConnectorName },
    #[error("the token is for an {token}, which may not bring connector {settings}")]
    NotSynchronised { token: Calling, settings: ConnectorName },
    #[error("the token is of a kind that this release does not know")]
    UnknownCalling,
    #[error("the token has expired: make a new one with `landbridge agents token`")]
    Expired,
    #[error("the token's address `{0}` is not one of a gateway")]
    Url(String),
    #[error("the gateway does not let this machine in")]
    Request(#[from] RequestError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the token holds too much")]
    TooLong(#[from] agent_proto::EncodeError),
}

/// Makes keys, and has them certified by the token's gateway for an agent of `connector`. The state folder then holds the
/// identity.
pub async fn enrol(
    state: &Path,
    connector: &ConnectorName,
    token: &EnrolmentToken,
    clock: &dyn Clock,
) -> Result<Identity, EnrolError> {
    match calling(token)? {
        Calling::Checks { connector: named, .. } if named == *connector => certified(state, token, clock).await,
        other => Err(EnrolError::OtherConnector { token: other, settings: connector.clone() }),
    }
}

/// The same for a sync server that brings `connectors`.
#[cfg(feature = "gateway")]
pub async fn enrol_sync_server(
    state: &Path,
    connectors: &[ConnectorName],
    token: &EnrolmentToken,
    clock: &dyn Clock,
) -> Result<Identity, EnrolError> {
    let calling = calling(token)?;
    match connectors.iter().find(|connector| !calling.synchronises(connector)) {
        Some(foreign) => Err(EnrolError::NotSynchronised { settings: foreign.clone(), token: calling }),
        None => certified(state, token, clock).await,
    }
}

fn calling(token: &EnrolmentToken) -> Result<Calling, EnrolError> {
    Calling::from_wire(&token.connector, &token.domains, token.synchronised.as_deref())
        .ok_or(EnrolError::UnknownCalling)
}

async fn certified(state: &Path, token: &EnrolmentToken, clock: &dyn Clock) -> Result<Identity, EnrolError> {
    if Identity::file(state).exists() {
        return Err(EnrolError::EnrolledBefore(Identity::file(state)));
    }
    if token.expires_at <= clock.now().millis() {
        return Err(EnrolError::Expired);
    }
    let address: url::Url = token.url.parse().map_err(|_| EnrolError::Url(token.url.clone()))?;
    // Before the token is used: the folder must take the identity.
    os::make_private_folder(state).map_err(|source| IdentityError::Write { path: Identity::file(state), source })?;
    let keys = Keys::generate()?;
    let request = Enrol {
        secret: token.secret.to_vec(),
        keys: keys.request()?,
        host: os::host_name(),
        software: SOFTWARE.to_owned(),
    };
    let dialler = Dialler::anonymous(token.pin)?;
    let enrolled = http::ask(&dialler, &address, ENROL_PATH, request.encode()?).await?;
    let (identity, known) = Identity::enrolled(enrolled, keys, token.pin, token.url.clone())?;
    identity.save(state)?;
    nodes::save(state, &known);
    Ok(identity)
}
