//! Messages to bytes and back: CBOR, capped, with nothing behind the end.

use minicbor::data::Type;
use minicbor::{Decode, Decoder, Encode};

/// Largest message. An enrolment with its certificates takes about 3 KiB, a check less than 2.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the message has {0} bytes, more than {MAX_MESSAGE}")]
    TooLong(usize),
    #[error("the message is not well-formed")]
    Malformed(#[from] minicbor::decode::Error),
    #[error("{0} bytes follow the end of the message")]
    TrailingBytes(usize),
}

/// Why a message cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message would have {0} bytes, more than {MAX_MESSAGE}")]
pub struct EncodeError(pub usize);

/// A message of a peer that may be one release ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming<T> {
    Known(T),
    /// A kind of message that this release does not know, to be passed over.
    Unknown(u32),
}

pub(crate) fn encode<T: Encode<()>>(message: &T) -> Result<Vec<u8>, EncodeError> {
    let bytes = plain(message);
    if bytes.len() > MAX_MESSAGE { Err(EncodeError(bytes.len())) } else { Ok(bytes) }
}

/// The encoding of anything, uncapped: for what is signed or sealed over.
pub(crate) fn plain<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    minicbor::encode(value, &mut bytes)
        .expect("encoders here have no error of their own, and a vector takes any write");
    bytes
}

pub(crate) fn decode<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(DecodeError::TooLong(bytes.len()));
    }
    let mut decoder = Decoder::new(bytes);
    let message = decoder.decode()?;
    match bytes.len() - decoder.position() {
        0 => Ok(message),
        trailing => Err(DecodeError::TrailingBytes(trailing)),
    }
}

/// Decodes an enumeration whose variants are numbered below `kinds`.
pub(crate) fn decode_kind<T: for<'b> Decode<'b, ()>>(bytes: &[u8], kinds: u32) -> Result<Incoming<T>, DecodeError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(DecodeError::TooLong(bytes.len()));
    }
    let mut decoder = Decoder::new(bytes);
    if decoder.datatype()? == Type::Array && decoder.array()? == Some(2) {
        let kind = decoder.u32()?;
        if kind >= kinds {
            return Ok(Incoming::Unknown(kind));
        }
    }
    decode(bytes).map(Incoming::Known)
}
