//! Directories that agents alone reach, as connected systems like the others (design section 5, "An agent carries reads
//! for the sync engine too").
//!
//! The gateway's settings say what is read and written there ([`DirectoryScope`](crate::config::DirectoryScope)); how the
//! directory is reached, and by which account, only its agents know. [`AgentDirectory`] is the connector that the engine
//! asks; it puts each question to an agent of that connector. There the same [`LdapConnector`](crate::connectors::ldap)
//! answers that the gateway has for directories of its own, so that every way of learning changes works alike: the scope
//! travels with the question, and an agent's own settings bound what may be asked of it.
//!
//! - **Who is asked.** The least busy connected agent whose certificate is of this connector and of all its domains, and
//!   which says that it carries such work. One that cannot answer (gone, its directory server out of reach, the watermark of
//!   another server) is followed by the next, as long as nothing was begun that a second beginning would spoil.
//! - **An import is pulled.** Pages travel in pieces; an agent is granted room for some of them and waits for more, as the
//!   engine waits for its store. When the agent goes away in the middle, a delta goes on with another agent from the last
//!   watermark that was told, since deltas may tell a change twice; a full import is aborted, because what was told already may
//!   have changed before its second watermark. An aborted import deletes nobody.
//! - **An export is never repeated here.** Once a batch has left, its loss means that its fate is unknown: the engine reads
//!   back. The agent goes on writing only while the gateway keeps saying that its run still has its turn.
//! - **Hashes leave wrapped and sealed.** For the password channel an agent reads with the same sources as the gateway
//!   (LDAP attributes, replication from Active Directory). NT hashes become PPH1 before they leave, with salts that a secret of
//!   the gateway's makes of anchors, so that a repeated read finds nothing new; passwords in the clear stay. Whether a password
//!   is on a list of leaked ones is looked up before that, where the agent has a list. Each page is sealed by
//!   HPKE to a key that the gateway makes for that one read. What a directory says of accounts rides along.
//! - **Nothing an agent says is taken on trust in form**: what is out of order, too long or not understood ends the read
//!   with an error, which obsoletes nothing.
//!
//! The words are in [`words`]; parts, windows and the connection are `agents`' and `agent-proto`'s.

#[cfg(feature = "gateway")]
mod account_source;
pub mod accounts;
#[cfg(feature = "agent")]
mod carrier;
#[cfg(feature = "gateway")]
mod directory;
#[cfg(feature = "agent")]
mod leaks;
#[cfg(feature = "gateway")]
mod progress;
#[cfg(feature = "agent")]
pub mod salts;
#[cfg(feature = "agent")]
mod told_turn;
pub mod words;

#[cfg(feature = "gateway")]
pub use account_source::AgentAccounts;
#[cfg(feature = "agent")]
pub use carrier::carrier;
#[cfg(feature = "gateway")]
pub use directory::AgentDirectory;
