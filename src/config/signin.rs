//! `[signin]`, `[lockout]`, `[failover]`, `[tokens]`: how long things last and where limits lie.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Table;
use super::secret::secret;
use crate::identity::{EntityId, PlainPassword};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

#[derive(Clone, Debug)]
pub struct SignInSettings {
    pub session_lifetime: Duration,
    /// Sessions granted by a backup may live shorter.
    pub failover_session_lifetime: Duration,
    /// Refusals of a domain are answered no sooner than this, so that unknown and wrong look alike.
    pub refusal_floor: Duration,
    /// Changes of methods and rollouts are proposed by one principal and approved by another.
    pub four_eyes: bool,
}

impl SignInSettings {
    pub(super) fn read(table: Table<'_>) -> Self {
        let session_lifetime = table.duration("session_lifetime", MINUTE..=30 * DAY).unwrap_or(12 * HOUR);
        let settings = Self {
            session_lifetime,
            failover_session_lifetime: table
                .duration("failover_session_lifetime", MINUTE..=30 * DAY)
                .unwrap_or(session_lifetime.min(HOUR)),
            refusal_floor: table
                .duration("refusal_floor", Duration::ZERO..=10 * SECOND)
                .unwrap_or(Duration::from_millis(300)),
            four_eyes: table.flag("four_eyes").unwrap_or(false),
        };
        table.finish();
        settings
    }
}

#[derive(Clone, Debug)]
pub struct LockoutSettings {
    /// Wrong passwords from familiar devices before the user is locked for them.
    pub familiar_limit: u32,
    pub unfamiliar_limit: u32,
    /// The window in which wrong passwords add up; at least the directory's observation window.
    pub window: Duration,
    /// The first lock; each further one doubles, up to `longest_lock`.
    pub first_lock: Duration,
    pub longest_lock: Duration,
    /// Names that fail from unknown devices of one network, and do not succeed, before tries of its unknown devices are
    /// let through one by one.
    pub spray_names: u32,
    /// For how long such a failure counts.
    pub spray_window: Duration,
    /// Between two tries that are let through.
    pub spray_pause: Duration,
}

impl LockoutSettings {
    pub(super) fn read(table: Table<'_>) -> Self {
        let limit = |name| table.number(name, 1..=1000).and_then(|n| u32::try_from(n).ok());
        let settings = Self {
            familiar_limit: limit("familiar_limit").unwrap_or(5),
            unfamiliar_limit: limit("unfamiliar_limit").unwrap_or(3),
            window: table.duration("window", MINUTE..=7 * DAY).unwrap_or(30 * MINUTE),
            first_lock: table.duration("first_lock", SECOND..=DAY).unwrap_or(MINUTE),
            longest_lock: table.duration("longest_lock", SECOND..=DAY).unwrap_or(HOUR),
            spray_names: table.number("spray_names", 2..=1_000_000).and_then(|n| u32::try_from(n).ok()).unwrap_or(50),
            spray_window: table.duration("spray_window", MINUTE..=DAY).unwrap_or(HOUR),
            spray_pause: table.duration("spray_pause", SECOND..=HOUR).unwrap_or(6 * SECOND),
        };
        if settings.longest_lock < settings.first_lock {
            table.complain("longest_lock", "it is shorter than first_lock", "give at least the time of first_lock");
        }
        table.finish();
        settings
    }
}

#[derive(Clone, Debug)]
pub struct FailoverSettings {
    /// Groups whose members, also nested, never get in through a backup (source anchors or display names).
    pub barred_groups: Vec<String>,
    /// Good probes in a row before a primary that was down answers again.
    pub good_probes: u32,
    pub probe_interval: Duration,
    /// Between two synthetic sign-ins at a federation partner.
    pub partner_interval: Duration,
    /// How synthetic sign-ins are made at partners.
    pub partner_canaries: Vec<PartnerCanarySettings>,
}

/// An account at a federation partner that signs in again and again, so that an outage is noticed.
#[derive(Clone, Debug)]
pub struct PartnerCanarySettings {
    /// The partner's entity id.
    pub partner: EntityId,
    /// Its name there, and its password; without them the partner's first page alone is looked at.
    pub account: Option<(String, PlainPassword)>,
    /// PEM file of the authorities that vouch for the partner's addresses; the system's when absent.
    pub ca_file: Option<PathBuf>,
}

impl PartnerCanarySettings {
    fn read(table: Table<'_>) -> Option<Self> {
        let partner = table.required("partner", "give the partner's entity id, as partner list shows it");
        let account = match table.text("name") {
            Some(name) => Some((name.into_owned(), secret(&table, "password_file", "password_env")?)),
            None => None,
        };
        let canary = Self { partner: partner?, account, ca_file: table.path("ca_file") };
        table.finish();
        Some(canary)
    }
}

impl FailoverSettings {
    pub(super) fn read(table: Table<'_>) -> Self {
        let settings = Self {
            barred_groups: table.list("barred_groups", "give names of groups"),
            good_probes: table.number("good_probes", 1..=100).and_then(|n| u32::try_from(n).ok()).unwrap_or(3),
            probe_interval: table
                .duration("probe_interval", Duration::from_millis(100)..=10 * MINUTE)
                .unwrap_or(2 * SECOND),
            partner_interval: table.duration("partner_interval", SECOND..=10 * MINUTE).unwrap_or(30 * SECOND),
            partner_canaries: table
                .tables("partner_canaries")
                .into_iter()
                .filter_map(PartnerCanarySettings::read)
                .collect(),
        };
        let partners = settings.partner_canaries.iter().map(|canary| &canary.partner);
        if let Some(twice) =
            partners.clone().enumerate().find(|(at, one)| partners.clone().take(*at).any(|p| p == *one))
        {
            let what = format!("the partner {} has two canaries", twice.1);
            table.complain("partner_canaries", what, "keep one of them");
        }
        table.finish();
        settings
    }
}

#[derive(Clone, Debug)]
pub struct TokenSettings {
    pub access_token_lifetime: Duration,
    pub refresh_token_lifetime: Duration,
}

impl TokenSettings {
    pub(super) fn read(table: Table<'_>) -> Self {
        let settings = Self {
            access_token_lifetime: table.duration("access_token_lifetime", MINUTE..=DAY).unwrap_or(15 * MINUTE),
            refresh_token_lifetime: table.duration("refresh_token_lifetime", HOUR..=365 * DAY).unwrap_or(30 * DAY),
        };
        table.finish();
        settings
    }
}
