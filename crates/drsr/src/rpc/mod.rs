//! Connection-oriented DCE/RPC over TCP (C706 chapter 12, MS-RPCE 2.2.2): PDUs, associations, sealed calls, and the endpoint
//! mapper. Knows nothing of what is called.

mod association;
mod der;
pub(crate) mod endpoint_mapper;
mod kdc;
mod kerberos;
mod ntlm;
mod ntlm_challenge;
pub(crate) mod pdu;
pub(crate) mod security;

pub(crate) use association::{Association, Channel};

use security::{SecurityContext, SecurityError};
use uuid::{Uuid, uuid};

use crate::controller::{Account, Controller};
use crate::error::Error;

/// A syntax: an interface, or the way in which stubs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Syntax {
    pub(crate) id: Uuid,
    pub(crate) major: u16,
    pub(crate) minor: u16,
}

pub(crate) const NDR: Syntax = Syntax { id: uuid!("8a885d04-1ceb-11c9-9fe8-08002b104860"), major: 2, minor: 0 };
/// MS-DRSR 1.9.
pub(crate) const REPLICATION: Syntax = Syntax { id: uuid!("e3514235-4b06-11d1-ab04-00c04fc2dcd2"), major: 4, minor: 0 };
/// C706 appendix O.
pub(crate) const ENDPOINT_MAPPER: Syntax =
    Syntax { id: uuid!("e1af8308-5d1f-11c9-91a4-08002b14a0fa"), major: 3, minor: 0 };

/// A context that signs in by NTLM.
pub(crate) fn ntlm(account: &Account) -> Result<Box<dyn SecurityContext>, SecurityError> {
    Ok(Box::new(ntlm::NtlmContext::new(account)?))
}

/// A context that signs in by Kerberos.
pub(crate) fn kerberos(controller: &Controller, account: &Account) -> Result<Box<dyn SecurityContext>, SecurityError> {
    Ok(Box::new(kerberos::KerberosContext::new(controller, account)?))
}

/// Whether the ticket service of `controller` knows the account by this password: the AS exchange of Kerberos alone (RFC 4120
/// 3.1), in which a controller takes the present password and no former one. AES only; no ticket is kept. Who can stand
/// between here and the controller and knows the password that is asked about can make it look right: use it beside a sign-in
/// over a verified connection.
///
/// A call that tells neither is an error: no connection, clocks apart, no AES key.
pub async fn is_present_password(controller: &Controller, account: &Account) -> Result<bool, Error> {
    let told = |error: SecurityError| error.told(controller.host.clone(), account.shown());
    let context = kerberos::KerberosContext::new(controller, account).map_err(told)?;
    match context.opens_initial_ticket().await {
        Ok(()) => Ok(true),
        // The second: an account that needs no proof beforehand gets its ticket sealed by the right password.
        Err(SecurityError::Refused | SecurityError::Signature) => Ok(false),
        Err(error) => Err(told(error)),
    }
}
