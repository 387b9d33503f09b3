//! The sync engine in a process of its own, near the directories, and the connector API by which it reaches the tenant
//! directory of a gateway elsewhere.
//!
//! The gateway's side ([`api`]) answers at the agents' door: mutual TLS, a certificate of the gateway's own authority that is
//! bound to named connectors, looked up with every request. The server's side ([`GatewayLink`], [`RemoteTenant`],
//! [`RemoteLease`]) makes outbound connections alone and stands in for the tenant connector before the engine, which
//! cannot tell the two apart: the same conformance suite checks both.
//!
//! # The protocol
//!
//! `docs/connector-api.md` shows every message.
//!
//! Requests are `POST` with a JSON body (RFC 8259) over HTTP/1.1 and TLS 1.3, at the paths of [`protocol::path`]. Answers are
//! JSON too; an import answers in lines of JSON, one page each. The objects are those of [`crate::sync::connector`], whose
//! documentation says what each means; attribute values are strings, or `{"base64": ...}` for bytes.
//!
//! | Path below `/connector/v1/` | Asks | Answers |
//! |---|---|---|
//! | `hello` | [`protocol::Hello`] | [`protocol::Welcome`]: what the certificate may bring, what the tenant can do, limits |
//! | `lease/take` | `{}` | [`protocol::TakenLease`]; `lease-held` while another server has it |
//! | `lease/renew` | [`protocol::OfEpoch`] | `{}`; `lease-lost` |
//! | `lease/release` | [`protocol::OfEpoch`] | `{}` |
//! | `import` | `ImportRequest`, full or delta | lines: [`protocol::ImportLine`] |
//! | `export` | [`protocol::Export`] | [`protocol::Exported`]: one result per change, in order |
//! | `read-back` | [`protocol::Questions`] | [`protocol::Answers`]: one per question, in order |
//!
//! **Versions.** The number in the path is the version; this one is [`protocol::VERSION`]. A path of another version answers
//! `unsupported-version` with the versions that are spoken. Within a version fields may be added: both sides pass over
//! fields that they do not know, and take a field that came later as absent when it is missing. Another meaning, a field that
//! must be understood, or a new kind of change is a new version.
//!
//! **The lease.** One server at a time writes. Taking the lease, also by the server that has it already, begins a new *epoch*,
//! which every write names and which is compared within each of its transactions. A server stops writing when half of the
//! lease's length has passed since it *asked* for the last renewal that was granted. Reading needs no lease.
//!
//! **Lost answers.** An export whose answer did not arrive may still be carried out, now or later. The server therefore takes
//! the lease anew before it asks or says anything else: what was on its way under the older epoch can change nothing from then
//! on, and what it reads back is what is. It never sends the batch again under the same epoch. Every change may arrive
//! twice, as the contract of connectors has it.
//!
//! **Reading.** An import that does not end with the line `{"end": true}` was aborted, whatever came before it.
//!
//! **Bounds.** A certificate names connectors. A change of which source anchor, user principal name or password source come
//! from another connector is refused for its object, and so is one of an object that another connector contributed; objects
//! of other connectors are not told. Which domains a connector speaks for, the gateway's settings say. Everything else is
//! judged by the tenant directory as it judges the engine of the gateway itself.
//!
//! **Errors** are [`protocol::Fault`]: a short word that stays, and a reason for the operator. Requests and lines are limited in
//! size ([`protocol::LARGEST_REQUEST`], [`protocol::LARGEST_LINE`]) and time.

pub mod api;
mod bounds;
mod gateway_link;
mod greeting;
mod lease;
pub mod protocol;
mod remote_tenant;

pub use gateway_link::{CallError, GatewayLink};
pub use greeting::{first_welcome, greet, keep_greeting, link};
pub use lease::RemoteLease;
pub use remote_tenant::RemoteTenant;
