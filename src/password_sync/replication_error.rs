//! Hashes could not be replicated: why, and what to do, in the words of the settings.

use super::source::SourceError;
use crate::config::ReplicationSignIn;

/// By NTLM a wrong name, a wrong domain and a domain without NTLM are one answer. LDAP was asked before.
const NTLM_REFUSED: &str = "LDAP admits the account with this password, so check replication_account and replication_domain; \
                            if the domain refuses NTLM, set replication_sign_in = \"kerberos\". `landbridge ad check` tells \
                            which of them it is";

#[derive(Debug, thiserror::Error)]
#[error("{error}; {remedy}", remedy = remedy(error, *sign_in))]
struct ReplicationError {
    error: drsr::Error,
    sign_in: ReplicationSignIn,
}

pub(super) fn replication(error: drsr::Error, sign_in: ReplicationSignIn) -> SourceError {
    SourceError::Directory(Box::new(ReplicationError { error, sign_in }))
}

/// What an operator can do about replication that fails while the directory can be read over LDAP.
pub fn remedy(error: &drsr::Error, sign_in: ReplicationSignIn) -> String {
    match error {
        drsr::Error::LogonFailure { .. } if sign_in == ReplicationSignIn::Ntlm => NTLM_REFUSED.to_owned(),
        other => other.remedy(),
    }
}
