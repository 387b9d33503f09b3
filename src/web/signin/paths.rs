//! Addresses of the sign-in pages, defined once.

use crate::identity::TransactionId;

pub const SHOW: &str = "/sign-in/{transaction}";
pub const NAME: &str = "/sign-in/{transaction}/name";
pub const PASSWORD: &str = "/sign-in/{transaction}/password";
pub const START_OVER: &str = "/sign-in/{transaction}/start-over";
pub const ACS: &str = "/federation/acs";
pub const PARTNER_METADATA: &str = "/federation/metadata";

/// The address of `pattern` for one transaction.
pub fn of(pattern: &str, id: TransactionId) -> String {
    pattern.replace("{transaction}", &id.to_string())
}
