//! `landbridge agent enrol`.

use std::path::Path;

use agent_proto::EnrolmentToken;
use agent_proto::enrolment::{ENROL_PATH, Enrol};

use super::super::SOFTWARE;
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
    #[error("the token is for connector {token}, the settings are of connector {settings}")]
    OtherConnector { token: String, settings: ConnectorName },
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

/// Makes keys, and has them certified by the token's gateway. The state folder then holds the identity.
pub async fn enrol(
    state: &Path,
    connector: &ConnectorName,
    token: &EnrolmentToken,
    clock: &dyn Clock,
) -> Result<Identity, EnrolError> {
    if Identity::file(state).exists() {
        return Err(EnrolError::EnrolledBefore(Identity::file(state)));
    }
    if token.connector != connector.as_str() {
        return Err(EnrolError::OtherConnector { token: token.connector.clone(), settings: connector.clone() });
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
