//! Who checks a password. The two managed authorities, as the sign-in decider sees them.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::identity::{Answer, ConnectorName, CredentialSource, DomainName, PlainPassword, Timestamp, Verdict};

/// The live check of a password against a directory (pass-through authentication; design section 3, "The live check").
#[async_trait]
pub trait LiveCheck: Send + Sync {
    /// Checks `password` for `subject`, a user of `domain`, at a server of `connector`, by failing over between its
    /// servers as long as nothing was sent. Answers within the bind deadline.
    async fn check(
        &self,
        connector: &ConnectorName,
        domain: &DomainName,
        subject: &LiveSubject,
        password: &PlainPassword,
    ) -> LiveAnswer;

    /// Asks every server of the connector without any user's input: the service account's bind must give 0 and the
    /// bind of a random absent DN must give 49. Bounded by the probe deadline.
    async fn probe(&self, connector: &ConnectorName) -> Vec<ServerProbe>;

    /// How long a check may take before it is given up: the bind deadline of the connector.
    fn deadline(&self, connector: &ConnectorName) -> Duration;
}

/// Whom a live check is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveSubject {
    Known(CredentialSource),
    /// A name that the tenant does not know walks the same road: the bind of a random absent DN.
    Unknown,
}

/// What a live check gave.
#[derive(Debug)]
pub struct LiveAnswer {
    pub answer: Answer,
    /// The server that decided, or was asked last.
    pub server: Option<String>,
    /// When the present password was set, as read live before the bind.
    pub password_set: Option<Timestamp>,
    /// Of a bind given up at its deadline: it is read to its end (30 s at most), and its verdict arrives here.
    /// The channel closes without a value when no verdict ever came.
    pub late: Option<oneshot::Receiver<LateVerdict>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateVerdict {
    pub verdict: Verdict,
    pub server: String,
}

/// A probe of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerProbe {
    pub server: String,
    /// `Ok` when it answered both questions rightly; else what it did instead, for status and alerts.
    pub outcome: Result<Duration, String>,
}

/// The check of a password against the stored chain (password hash synchronisation).
#[async_trait]
pub trait HashCheck: Send + Sync {
    /// Checks `password` against the credential of `source`; `None` (unknown user, no source) derives a dummy chain.
    /// Every answer takes as long as the slowest chain in use.
    async fn check(
        &self,
        source: Option<&CredentialSource>,
        password: &PlainPassword,
        admission: Admission,
    ) -> HashAnswer;

    /// Whether `password` matches the stored chain, off the answer path and only with permits that no sign-in wants:
    /// `None` when there was no permit, no credential, or it could not be read.
    async fn matches_spare(&self, source: &CredentialSource, password: &PlainPassword) -> Option<bool>;

    /// How many hashes of the slowest chain in use this node checks in a minute; `None` where that is not known.
    fn checks_a_minute(&self) -> Option<u64> {
        None
    }

    /// What is stored for `source`, without deriving anything.
    async fn facts(&self, source: &CredentialSource) -> Result<Option<CredentialFacts>, CredentialStoreDown>;
}

/// The credential store could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the credential store could not be read")]
pub struct CredentialStoreDown(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// How a derivation is let into the pool: half of the permits are reserved for familiar devices, one network holds at
/// most a quarter (design D7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    pub familiar: bool,
    pub network: Option<std::net::IpAddr>,
    /// How long to wait for a permit before the answer is `Overloaded`.
    pub patience: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashAnswer {
    pub answer: Answer,
    /// The version of the credential that was checked; sessions record it (design D23).
    pub credential_version: Option<i64>,
}

/// What the store knows of a credential (no secret).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFacts {
    pub version: i64,
    /// Sealed or wrapped, not quarantined, not wiped.
    pub usable: bool,
    /// The directory has moved on since this hash was read (design section 3).
    pub outdated: bool,
    pub password_set: Option<Timestamp>,
    pub stored_at: Timestamp,
    pub confirmed_at: Timestamp,
    /// The password is on the list of leaked ones, and nothing proves that the directory has another one by now.
    pub leaked: bool,
}
