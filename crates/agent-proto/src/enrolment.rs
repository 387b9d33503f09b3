//! Enrolment and renewal: bodies of `POST /agents/v1/enrol` and `POST /agents/v1/renew`.

use minicbor::{Decode, Encode};

use crate::codec::{self, DecodeError, EncodeError};
use crate::ids::AgentId;
use crate::message::GatewayNode;

/// Where an agent without a certificate enrols.
pub const ENROL_PATH: &str = "/agents/v1/enrol";
/// Where an agent renews; the one place that takes an expired certificate.
pub const RENEW_PATH: &str = "/agents/v1/renew";
/// Where an agent opens its WebSocket.
pub const CONNECT_PATH: &str = "/agents/v1/connect";
/// The media type of all bodies here.
pub const MEDIA_TYPE: &str = "application/cbor";

/// Asks for a certificate by a one-time token.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Enrol {
    /// Of the token.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub secret: Vec<u8>,
    #[n(1)]
    pub keys: KeyRequest,
    /// The name of the machine, for operators.
    #[n(2)]
    pub host: String,
    #[n(3)]
    pub software: String,
}

/// Asks for a new certificate, authenticated by the old one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Renew {
    #[n(0)]
    pub keys: KeyRequest,
    #[n(1)]
    pub software: String,
}

/// An agent's three public keys, in one request.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KeyRequest {
    /// PKCS #10 (RFC 2986) in DER, signed by the TLS key; an attribute of it names the two other keys.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub csr: Vec<u8>,
    /// Of the whole CSR by the key of answers, so that it is shown to be held.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub proof: Vec<u8>,
}

/// An agent that is let in.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Enrolled {
    #[n(0)]
    pub agent: AgentId,
    #[n(1)]
    pub connector: String,
    #[n(2)]
    pub domains: Vec<String>,
    /// X.509 in DER.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub certificate: Vec<u8>,
    #[n(4)]
    pub nodes: Vec<GatewayNode>,
    /// Of a sync server: the connectors that it may bring.
    #[n(5)]
    pub synchronised: Option<Vec<String>>,
}

macro_rules! body {
    ($($name:ident),*) => {
        $(impl $name {
            pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
                codec::encode(self)
            }

            pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
                codec::decode(bytes)
            }
        })*
    };
}

body!(Enrol, Renew, Enrolled);

impl std::fmt::Debug for Enrol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Enrol({}, {})", self.host, self.software)
    }
}
