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
const LENGTH: usize = 4;

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
        Ok(answer)
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
