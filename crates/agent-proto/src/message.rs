//! The messages of a connection.

use minicbor::{Decode, Encode};

use crate::answer::Answer;
use crate::codec::{self, DecodeError, EncodeError, Incoming};
use crate::ids::RequestId;
use crate::parts::Part;
use crate::sealed::SealedPassword;
use crate::version::Versions;

/// Whom a check is about.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Subject {
    /// The anchor of an entry in the agent's directory.
    #[n(0)]
    Anchor(#[n(0)] String),
    /// Nobody: the agent binds a name that no entry has, so that it takes as long and looks alike.
    #[n(1)]
    Unknown,
}

/// A node of the gateway, and where agents reach it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct GatewayNode {
    #[n(0)]
    pub name: String,
    /// `https://HOST:PORT`.
    #[n(1)]
    pub url: String,
}

/// From a gateway node to an agent. Times are milliseconds since 1970 by the gateway's clock.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ToAgent {
    /// The answer to [`ToGateway::Hello`].
    #[n(0)]
    Welcome {
        #[n(0)]
        version: u32,
        #[n(1)]
        node: String,
        #[n(2)]
        time: i64,
        /// Between two [`ToAgent::Ping`]s.
        #[n(3)]
        heartbeat_ms: u32,
        /// All nodes, this one among them.
        #[n(4)]
        nodes: Vec<GatewayNode>,
    },
    /// The connection ends, for a reason that an operator can read.
    #[n(1)]
    Goodbye {
        #[n(0)]
        reason: String,
    },
    #[n(2)]
    Ping {
        #[n(0)]
        sequence: u64,
        #[n(1)]
        time: i64,
    },
    /// A check that wants an agent; to be accepted or declined at once.
    #[n(3)]
    Offer {
        #[n(0)]
        request: RequestId,
        #[n(1)]
        subject: Subject,
        /// From then on it must not be started.
        #[n(2)]
        expires_at: i64,
    },
    /// The accepted check is this agent's alone.
    #[n(4)]
    Go {
        #[n(0)]
        request: RequestId,
        #[n(1)]
        password: SealedPassword,
        /// How long the directory may take, from the arrival of this message.
        #[n(2)]
        limit_ms: u32,
    },
    /// The offer was given to another agent, or nobody waits any more.
    #[n(5)]
    Withdraw {
        #[n(0)]
        request: RequestId,
    },
    /// Ask every server of the directory without any user's input.
    #[n(6)]
    Probe {
        #[n(0)]
        request: RequestId,
    },
    /// The nodes have changed.
    #[n(7)]
    Nodes {
        #[n(0)]
        nodes: Vec<GatewayNode>,
    },
    /// From version 2 on: a part of what the gateway says in an exchange. The first one opens it.
    #[n(8)]
    Ask(#[n(0)] Part),
    /// The agent may tell so many parts more.
    #[n(9)]
    Grant {
        #[n(0)]
        request: RequestId,
        #[n(1)]
        parts: u32,
    },
    /// Nobody listens to the exchange any more: what it began is given up.
    #[n(10)]
    Abandon {
        #[n(0)]
        request: RequestId,
    },
}

/// From an agent to a gateway node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ToGateway {
    /// The first message.
    #[n(0)]
    Hello {
        #[n(0)]
        versions: Versions,
        /// The release of the agent, for operators.
        #[n(1)]
        software: String,
        /// The name of the machine, for operators.
        #[n(2)]
        host: String,
        /// How many checks it takes at once, over this connection.
        #[n(3)]
        capacity: u32,
        /// From version 2 on: what it does besides checks, by stable words such as `import`.
        #[n(4)]
        carries: Option<Vec<String>>,
    },
    #[n(1)]
    Pong {
        #[n(0)]
        sequence: u64,
    },
    /// The agent will make the bind, once told to go.
    #[n(2)]
    Accept {
        #[n(0)]
        request: RequestId,
    },
    /// The agent will not: nothing was sent, nor will be. Of a check, or of an exchange.
    #[n(3)]
    Decline {
        #[n(0)]
        request: RequestId,
        #[n(1)]
        reason: DeclineReason,
    },
    #[n(4)]
    Answer(#[n(0)] Answer),
    #[n(5)]
    Probed(#[n(0)] Probed),
    /// The agent takes no more offers; what it accepted it will answer.
    #[n(6)]
    Draining,
    /// From version 2 on: a part of what the agent says in an exchange.
    #[n(7)]
    Tell(#[n(0)] Part),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum DeclineReason {
    #[n(0)]
    Full,
    #[n(1)]
    Draining,
    #[n(2)]
    Expired,
}

/// What came of a [`ToAgent::Probe`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Probed {
    #[n(0)]
    pub request: RequestId,
    #[n(1)]
    pub servers: Vec<ServerProbe>,
}

/// A probe of one directory server.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ServerProbe {
    #[n(0)]
    pub server: String,
    #[n(1)]
    pub took_ms: u32,
    /// What went wrong; nothing when the server answered rightly.
    #[n(2)]
    pub failure: Option<String>,
}

/// Variants of [`ToAgent`].
const TO_AGENT_KINDS: u32 = 11;
/// Variants of [`ToGateway`].
const TO_GATEWAY_KINDS: u32 = 8;

impl ToAgent {
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        codec::encode(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Incoming<Self>, DecodeError> {
        codec::decode_kind(bytes, TO_AGENT_KINDS)
    }
}

impl ToGateway {
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        codec::encode(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Incoming<Self>, DecodeError> {
        codec::decode_kind(bytes, TO_GATEWAY_KINDS)
    }
}

#[cfg(test)]
mod tests;
