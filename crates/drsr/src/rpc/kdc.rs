//! Kerberos requests over TCP (RFC 4120 7.2.2): a length of four bytes, then a message, both ways.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::der;
use super::security::SecurityError;
use crate::controller::Controller;
use crate::error::Port;

/// Tickets of accounts in thousands of groups are below this (MaxTokenSize is 48,000 bytes).
const MAX_ANSWER: usize = 128 << 10;
pub(super) const LENGTH: usize = 4;
/// Tags of a KRB-ERROR and of its field of the same name.
const KRB_ERROR: u8 = 0x7e;
const ERROR_CODE: u8 = 0xa6;

/// The ticket service of a controller.
pub(crate) struct Kdc(Controller);

impl Kdc {
    pub(crate) fn new(controller: Controller) -> Self {
        Self(controller)
    }

    /// Sends a request that begins with its length, and returns the answer with its own.
    pub(crate) async fn exchange(&self, request: &[u8]) -> Result<Vec<u8>, SecurityError> {
        let Self(controller) = self;
        let port = Port::Kerberos(controller.kerberos_port);
        let unreachable = |source| SecurityError::Unreachable { port, source };
        let connect = async {
            match controller.address {
                Some(address) => TcpStream::connect((address, controller.kerberos_port)).await,
                None => TcpStream::connect((controller.host.as_str(), controller.kerberos_port)).await,
            }
        };
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let mut stream =
            timeout(controller.connect_deadline, connect).await.map_err(late).flatten().map_err(unreachable)?;
        let answer = timeout(controller.call_deadline, exchange(&mut stream, request));
        let answer = answer.await.map_err(late).flatten().map_err(unreachable)?;
        if !der::is_one_value(&answer[LENGTH..]) {
            return Err(SecurityError::Failed("the ticket service's answer is malformed".to_owned()));
        }
        match error_code(&answer[LENGTH..]).and_then(refusal) {
            Some(refusal) => Err(refusal),
            None => Ok(answer),
        }
    }
}

/// The code of a KRB-ERROR (RFC 4120 5.9.1); `None` for any other message.
fn error_code(message: &[u8]) -> Option<u8> {
    let (KRB_ERROR, message, _) = der::split(message)? else { return None };
    let (_, mut fields, _) = der::split(message)?;
    loop {
        let (tag, content, rest) = der::split(fields)?;
        if tag == ERROR_CODE {
            let (_, number, _) = der::split(content)?;
            // One octet has room for all codes up to 127, which those below are among.
            return <[u8; 1]>::try_from(number).ok().map(|[code]| code);
        }
        fields = rest;
    }
}

/// What an operator can act on (RFC 4120 7.5.9). The rest, and the one that asks for the proof of the password, is for the
/// library. It would set its own clock by a server's bare word, which nobody has signed: here that is a refusal.
fn refusal(code: u8) -> Option<SecurityError> {
    match code {
        // KDC_ERR_C_PRINCIPAL_UNKNOWN, KDC_ERR_CLIENT_REVOKED, KDC_ERR_PREAUTH_FAILED.
        6 | 18 | 24 => Some(SecurityError::Refused),
        // KDC_ERR_ETYPE_NOSUPP.
        14 => Some(SecurityError::NoCommonEncryption),
        // KDC_ERR_KEY_EXPIRED.
        23 => Some(SecurityError::PasswordExpired),
        // KRB_AP_ERR_SKEW.
        37 => Some(SecurityError::ClockSkew),
        _ => None,
    }
}

async fn exchange(stream: &mut TcpStream, request: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(request).await?;
    let mut head = [0; LENGTH];
    stream.read_exact(&mut head).await?;
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > MAX_ANSWER {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut answer = Vec::with_capacity(LENGTH + length.min(4096));
    answer.extend_from_slice(&head);
    let limit = u64::try_from(length).map_err(io::Error::other)?;
    stream.take(limit).read_to_end(&mut answer).await?;
    if answer.len() != LENGTH + length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_code_of_an_error_is_found_among_its_fields() {
        let error = [0x7e, 12, 0x30, 10, 0xa5, 3, 2, 1, 0, 0xa6, 3, 2, 1, 37];
        assert_eq!(error_code(&error), Some(37));
        assert!(matches!(refusal(37), Some(SecurityError::ClockSkew)));
        // No error; without the field; a code that is none of those.
        assert_eq!(error_code(&[0x6b, 2, 0x30, 0]), None);
        assert_eq!(error_code(&[0x7e, 2, 0x30, 0]), None);
        assert!(refusal(25).is_none());
        for length in 0..error.len() {
            let _ = error_code(&error[..length]);
        }
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_have_a_code_or_none(bytes in prop::collection::vec(any::<u8>(), 0..100), is_error in any::<bool>()) {
            let bytes = if is_error { [&[0x7e, 0x40, 0x30, 0x3e][..], &bytes].concat() } else { bytes };
            let _ = error_code(&bytes);
        }
    }
}
