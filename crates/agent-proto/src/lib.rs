//! What a gateway and its agents on premises say to each other.
//!
//! An agent keeps a WebSocket to every gateway node. Each binary message on it is one [`ToAgent`] or [`ToGateway`] in
//! CBOR (RFC 8949), at most [`MAX_MESSAGE`] bytes; requests are told apart by their [`RequestId`], so that many are under
//! way at once. Enrolment and renewal are plain HTTP bodies of the same kind ([`enrolment`]).
//!
//! A live check is four messages: the gateway *offers* it, the agent *accepts*, the gateway says *go* with the password,
//! the agent *answers*. The gateway says go to one agent at most, whatever acknowledgement comes late, so that no bind
//! is ever made twice and no password reaches an agent that does not use it.
//!
//! Agents that say so carry the sync engine's work too, in *exchanges*: [`parts`].
//!
//! - A password is sealed to one agent by HPKE (RFC 9180), bound to request, agent, subject and expiry: [`sealed`].
//! - An answer is signed (Ed25519) over the request and the very ciphertext that it answers: [`answer`].
//! - Peers of neighbouring releases agree on a version: [`Versions`]. Fields that a peer does not know are passed over;
//!   messages that it does not know are [`Incoming::Unknown`].
//!
//! No I/O, no clock, no settings. Whatever comes in is size-capped and never panics.

pub mod answer;
mod codec;
pub mod enrolment;
mod ids;
mod message;
pub mod parts;
mod pin;
pub mod sealed;
pub mod token;
mod version;

pub use codec::{DecodeError, EncodeError, Incoming, MAX_MESSAGE};
pub use ids::{AgentId, RequestId};
pub use message::{DeclineReason, GatewayNode, Probed, ServerProbe, Subject, ToAgent, ToGateway};
pub use pin::{PinError, SpkiPin};
pub use token::{EnrolmentToken, TokenError};
pub use version::Versions;
