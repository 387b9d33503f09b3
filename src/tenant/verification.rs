//! Proof that a domain is the tenant's: a TXT record with a random value.

use async_trait::async_trait;

use super::domain::Domain;

/// Looks up TXT records.
#[async_trait]
pub trait DnsTxt: Send + Sync {
    /// The texts at `name`; none when there is no such name or no such record.
    async fn texts(&self, name: &str) -> Result<Vec<String>, DnsUnavailable>;
}

/// No name server gave an answer.
#[derive(Debug, thiserror::Error)]
#[error("the TXT records of {name} could not be looked up")]
pub struct DnsUnavailable {
    pub name: String,
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The challenge of a new domain, from 128 random bits.
pub fn challenge(random: [u8; 16]) -> String {
    format!("landbridge-verification={}", hex::encode(random))
}

/// The name below which the record is looked for: a label that no host has.
pub fn record_name(domain: &Domain) -> String {
    format!("_landbridge-challenge.{}", domain.name)
}

/// Whether one of the texts is the domain's challenge.
pub fn proves(domain: &Domain, texts: &[String]) -> bool {
    !domain.challenge.is_empty() && texts.iter().any(|text| text.trim() == domain.challenge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Timestamp;

    #[test]
    fn only_the_whole_challenge_proves_the_domain() {
        let name = "verified.example".parse().expect("a domain");
        let now = Timestamp::from_secs(0);
        let domain = Domain::added(name, challenge([7; 16]), now);
        let proved = |text: &str| proves(&domain, &["v=spf1 -all".to_owned(), text.to_owned()]);
        assert!(proved(&domain.challenge) && proved(&format!(" {} ", domain.challenge)));
        assert!(!proved("landbridge-verification=") && !proved(&domain.challenge[..40]));
        assert!(!proves(&domain, &[]));
        let initial = Domain::initial("tenant.example".parse().expect("a domain"), now);
        assert!(!proves(&initial, &[String::new()]), "an empty challenge proves nothing");
    }
}
