//! The numbers of sign-in, as `config` validated them.

use std::collections::BTreeSet;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::identity::DomainName;

/// What an operator may set about sign-in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a browser has from the first page to the last (design section 3).
    pub transaction_life: Duration,
    /// Absolute life of a session.
    pub session_life: Duration,
    /// Absolute life of a session that a backup granted; never longer than `session_life`.
    pub failover_session_life: Duration,
    /// When a live answer is this late, a probe of every server starts, so that an outage is known by the deadline.
    pub late_after: Duration,
    /// Pause between two probes while a breaker is open.
    pub probe_interval: Duration,
    /// Pause between two synthetic sign-ins at a federation partner.
    pub partner_interval: Duration,
    /// Good probes in a row that close a breaker: an authority that flaps stays open.
    pub good_probes: u32,
    /// Refusals are answered at whole multiples of this time after the question, so that their cause cannot be timed.
    pub refusal_quantum: Duration,
    /// How long a key derivation may wait for a permit.
    pub permit_patience: Duration,
    pub lockout: LockoutSettings,
    pub leaked: LeakedPasswords,
}

/// Where a password that is on the list of leaked ones signs nobody in.
#[derive(Clone, Debug, Default)]
pub struct LeakedPasswords {
    pub refused: bool,
    /// Domains where it is the other way round.
    pub except: BTreeSet<DomainName>,
}

impl LeakedPasswords {
    pub(super) fn are_refused_in(&self, domain: &DomainName) -> bool {
        self.refused != self.except.contains(domain)
    }
}

/// Smart lockout (design section 3).
#[derive(Clone, Debug)]
pub struct LockoutSettings {
    /// Failures from known devices before a lock; lowered where the directory's own threshold asks for it.
    pub familiar_limit: u32,
    /// Failures from unknown devices before a lock.
    pub unfamiliar_limit: u32,
    /// Failures are forgotten when none has come for this long. At least the directory's observation window.
    pub window: Duration,
    /// The first lock; each further one lasts twice as long.
    pub first_lock: Duration,
    pub longest_lock: Duration,
    /// Names that fail from one network before it is slowed.
    pub spray_names: u32,
    pub spray_window: Duration,
    /// Between two tries of a slowed network that are let through.
    pub spray_pause: Duration,
    /// A try that was never settled (a crash, a connection lost after the bind was sent) is given back after this.
    pub reservation_life: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            transaction_life: Duration::from_secs(10 * 60),
            session_life: Duration::from_secs(12 * 3600),
            failover_session_life: Duration::from_secs(4 * 3600),
            late_after: Duration::from_millis(300),
            probe_interval: Duration::from_secs(2),
            partner_interval: Duration::from_secs(30),
            good_probes: 3,
            refusal_quantum: Duration::from_millis(250),
            permit_patience: Duration::from_secs(5),
            lockout: LockoutSettings::default(),
            leaked: LeakedPasswords::default(),
        }
    }
}

impl Default for LockoutSettings {
    fn default() -> Self {
        Self {
            familiar_limit: 10,
            unfamiliar_limit: 5,
            window: Duration::from_secs(30 * 60),
            first_lock: Duration::from_secs(60),
            longest_lock: Duration::from_secs(3600),
            spray_names: 50,
            spray_window: Duration::from_secs(3600),
            spray_pause: Duration::from_secs(6),
            reservation_life: Duration::from_secs(120),
        }
    }
}

/// The key under which unknown names and wrong passwords are remembered (HMAC-SHA256); the same on all nodes.
#[derive(Clone)]
pub struct SignInKey(Zeroizing<[u8; 32]>);

impl SignInKey {
    pub fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// HMAC over `fields`, each preceded by its length, so that none runs into another; hexadecimal.
    pub(super) fn mac(&self, purpose: &str, fields: &[&[u8]]) -> String {
        use aws_lc_rs::hmac;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0[..]);
        let mut context = hmac::Context::with_key(&key);
        for field in std::iter::once(purpose.as_bytes()).chain(fields.iter().copied()) {
            context.update(&(field.len() as u64).to_be_bytes());
            context.update(field);
        }
        hex::encode(context.sign())
    }
}

impl std::fmt::Debug for SignInKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignInKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::SignInKey;

    #[test]
    fn fields_do_not_run_into_each_other_and_long_ones_are_not_cut() {
        let key = SignInKey::new([7; 32]);
        assert_ne!(key.mac("p", &[b"ab", b"c"]), key.mac("p", &[b"a", b"bc"]));
        let (long, longer) = (vec![b'x'; 100], [vec![b'x'; 100], vec![b'y']].concat());
        assert_ne!(key.mac("p", &[&long]), key.mac("p", &[&longer]));
        assert_ne!(key.mac("p", &[b"a"]), key.mac("q", &[b"a"]));
    }
}
