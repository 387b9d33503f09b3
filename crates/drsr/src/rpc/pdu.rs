//! Protocol data units (C706 chapter 12.6; security trailer in MS-RPCE 2.2.2.11): written and read, without any I/O.

use super::Syntax;
use crate::error::MalformedReply;
use crate::ndr::{Reader, Writer};

pub(crate) const HEADER: usize = 16;
/// Header, allocation hint, context, operation: what stands before the stub of a request or response.
pub(crate) const CALL_HEAD: usize = 24;
pub(crate) const SECURITY_TRAILER: usize = 8;
/// The largest fragment that is sent and received, as Windows has it (MS-RPCE 3.3.1.5.2).
pub(crate) const MAX_FRAGMENT: u16 = 5840;
/// The least that every implementation takes (C706 12.6.3.1, MustRecvFragSize).
pub(crate) const LEAST_FRAGMENT: u16 = 1432;

const VERSION: [u8; 2] = [5, 0];
/// Little endian, ASCII, IEEE.
const DATA_REPRESENTATION: [u8; 4] = [0x10, 0, 0, 0];
const FIRST_FRAGMENT: u8 = 0x01;
const LAST_FRAGMENT: u8 = 0x02;
const SUPPORT_HEADER_SIGN: u8 = 0x04;
/// RPC_C_AUTHN_LEVEL_PKT_PRIVACY (MS-RPCE 2.2.1.1.8): signed and encrypted.
pub(crate) const PRIVACY: u8 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    Fault,
    Bind,
    BindAck,
    BindNak,
    AlterContext,
    AlterContextResponse,
    Auth3,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Request => 0,
            Self::Response => 2,
            Self::Fault => 3,
            Self::Bind => 11,
            Self::BindAck => 12,
            Self::BindNak => 13,
            Self::AlterContext => 14,
            Self::AlterContextResponse => 15,
            Self::Auth3 => 16,
        }
    }

    fn of(code: u8) -> Option<Self> {
        let kinds = [
            Self::Request,
            Self::Response,
            Self::Fault,
            Self::Bind,
            Self::BindAck,
            Self::BindNak,
            Self::AlterContext,
            Self::AlterContextResponse,
            Self::Auth3,
        ];
        kinds.into_iter().find(|kind| kind.code() == code)
    }
}

/// The first 16 bytes of a PDU that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) is_first: bool,
    pub(crate) is_last: bool,
    pub(crate) signs_headers: bool,
    /// The length of the whole fragment, header included: at least [`HEADER`], at most [`MAX_FRAGMENT`].
    pub(crate) length: usize,
    pub(crate) token_length: usize,
    pub(crate) call_id: u32,
}

impl Header {
    pub(crate) fn read(bytes: &[u8; HEADER]) -> Result<Self, MalformedReply> {
        let malformed = |what, at| Err(MalformedReply { what, at });
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        if bytes[..2] != VERSION {
            return malformed("protocol version", 0);
        }
        if bytes[4] != DATA_REPRESENTATION[0] {
            return malformed("data representation", 4);
        }
        let Some(kind) = Kind::of(bytes[2]) else { return malformed("kind of PDU", 2) };
        let (length, token_length) = (half(8), half(10));
        if usize::from(length) < HEADER || length > MAX_FRAGMENT {
            return malformed("fragment length", 8);
        }
        Ok(Self {
            kind,
            is_first: bytes[3] & FIRST_FRAGMENT != 0,
            is_last: bytes[3] & LAST_FRAGMENT != 0,
            signs_headers: bytes[3] & SUPPORT_HEADER_SIGN != 0,
            length: usize::from(length),
            token_length: usize::from(token_length),
            call_id: u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]),
        })
    }
}

/// A token of the security provider, as it stands at the end of a PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) provider: u8,
    pub(crate) bytes: &'a [u8],
}

fn header(kind: Kind, flags: u8, call_id: u32, token_length: usize) -> Vec<u8> {
    let mut pdu = Vec::with_capacity(usize::from(MAX_FRAGMENT));
    pdu.extend_from_slice(&VERSION);
    pdu.extend_from_slice(&[kind.code(), flags]);
    pdu.extend_from_slice(&DATA_REPRESENTATION);
    pdu.extend_from_slice(&[0, 0]);
    pdu.extend_from_slice(&u16::try_from(token_length).expect("tokens are below 64 KiB").to_le_bytes());
    pdu.extend_from_slice(&call_id.to_le_bytes());
    pdu
}

/// Sets the length once it is known.
fn finish(mut pdu: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(pdu.len()).expect("fragments are below 64 KiB");
    pdu[8..10].copy_from_slice(&length.to_le_bytes());
    pdu
}

fn security_trailer(provider: u8, padding: usize) -> [u8; SECURITY_TRAILER] {
    let padding = u8::try_from(padding).expect("padding is below 16");
    [provider, PRIVACY, padding, 0, 0, 0, 0, 0]
}

fn append_token(pdu: &mut Vec<u8>, token: Token<'_>) {
    let padding = pdu.len().next_multiple_of(4) - pdu.len();
    pdu.resize(pdu.len() + padding, 0);
    pdu.extend_from_slice(&security_trailer(token.provider, padding));
    pdu.extend_from_slice(token.bytes);
}

/// bind or alter_context for one interface.
pub(crate) fn bind(kind: Kind, call_id: u32, interface: Syntax, token: Option<Token<'_>>) -> Vec<u8> {
    let mut body = Writer::default();
    body.u16(MAX_FRAGMENT);
    body.u16(MAX_FRAGMENT);
    body.u32(0);
    body.u32(1);
    body.u16(0);
    body.u16(1);
    for syntax in [interface, super::NDR] {
        body.uuid(syntax.id);
        body.u16(syntax.major);
        body.u16(syntax.minor);
    }
    let sign = if token.is_some() { SUPPORT_HEADER_SIGN } else { 0 };
    let length = token.map_or(0, |token| token.bytes.len());
    let mut pdu = header(kind, FIRST_FRAGMENT | LAST_FRAGMENT | sign, call_id, length);
    pdu.extend_from_slice(&body.finish());
    if let Some(token) = token {
        append_token(&mut pdu, token);
    }
    finish(pdu)
}

/// The third leg, which has no answer (MS-RPCE 2.2.2.10).
pub(crate) fn auth3(call_id: u32, token: Token<'_>) -> Vec<u8> {
    let mut pdu = header(Kind::Auth3, FIRST_FRAGMENT | LAST_FRAGMENT, call_id, token.bytes.len());
    pdu.extend_from_slice(&[0; 4]);
    append_token(&mut pdu, token);
    finish(pdu)
}

/// Where a call's fragment stands among its siblings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) is_first: bool,
    pub(crate) is_last: bool,
}

/// A fragment of a request that is not protected.
pub(crate) fn request(call_id: u32, operation: u16, place: Place, stub: &[u8], whole: usize) -> Vec<u8> {
    let mut pdu = request_head(call_id, operation, place, whole, 0);
    pdu.extend_from_slice(stub);
    finish(pdu)
}

/// A fragment of a request with room for its token, to be sealed in place. The stub is padded to 16 bytes, as much as any
/// provider wants.
pub(crate) fn request_to_seal(
    call_id: u32,
    operation: u16,
    place: Place,
    stub: &[u8],
    whole: usize,
    provider: u8,
    token_length: usize,
) -> Vec<u8> {
    let padding = stub.len().next_multiple_of(16) - stub.len();
    let mut pdu = request_head(call_id, operation, place, whole, token_length);
    pdu.extend_from_slice(stub);
    pdu.resize(pdu.len() + padding, 0);
    pdu.extend_from_slice(&security_trailer(provider, padding));
    pdu.resize(pdu.len() + token_length, 0);
    finish(pdu)
}

/// How much of a stub fits into one fragment beside a token of this length.
pub(crate) fn stub_room(max_fragment: u16, token_length: usize) -> usize {
    (usize::from(max_fragment) - CALL_HEAD - SECURITY_TRAILER - token_length) & !15
}

fn request_head(call_id: u32, operation: u16, place: Place, whole: usize, token_length: usize) -> Vec<u8> {
    let flags = if place.is_first { FIRST_FRAGMENT } else { 0 } | if place.is_last { LAST_FRAGMENT } else { 0 };
    let mut pdu = header(Kind::Request, flags, call_id, token_length);
    pdu.extend_from_slice(&u32::try_from(whole).expect("requests are far below 4 GiB").to_le_bytes());
    pdu.extend_from_slice(&0u16.to_le_bytes());
    pdu.extend_from_slice(&operation.to_le_bytes());
    pdu
}

/// Splits a sealed fragment into the head that is signed, the body that is encrypted, the trailer that is signed, and the
/// token.
pub(crate) fn sealed_parts(pdu: &mut [u8], token_length: usize) -> Option<[&mut [u8]; 4]> {
    let body_end = pdu.len().checked_sub(token_length + SECURITY_TRAILER).filter(|end| *end >= CALL_HEAD)?;
    let (head, rest) = pdu.split_at_mut(CALL_HEAD);
    let (body, rest) = rest.split_at_mut(body_end - CALL_HEAD);
    let (trailer, token) = rest.split_at_mut(SECURITY_TRAILER);
    Some([head, body, trailer, token])
}

/// What a bind_ack or alter_context_resp says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BindAck<'a> {
    /// The largest fragment that the server takes.
    pub(crate) max_fragment: u16,
    /// Why the interface was declined.
    pub(crate) declined: Option<u16>,
    pub(crate) token: &'a [u8],
}

pub(crate) fn bind_ack<'a>(header: &Header, pdu: &'a [u8]) -> Result<BindAck<'a>, MalformedReply> {
    let token_at = pdu.len().checked_sub(header.token_length).filter(|at| *at >= HEADER);
    let (body, token) = pdu.split_at(token_at.ok_or(MalformedReply { what: "token length", at: 10 })?);
    let mut reader = Reader::new(body);
    reader.bytes(HEADER)?;
    reader.u16()?;
    let max_fragment = reader.u16()?;
    reader.u32()?;
    let address = usize::from(reader.u16()?);
    reader.bytes(address)?;
    reader.align(4)?;
    let results = reader.bytes(4)?[0];
    if results == 0 {
        return Err(reader.malformed("no result"));
    }
    let (result, reason) = (reader.u16()?, reader.u16()?);
    Ok(BindAck { max_fragment, declined: (result != 0).then_some(reason), token })
}

/// Why a server declines a bind (C706 12.6.4.5, MS-RPCE 2.2.2.5).
pub(crate) fn bind_nak_reason(pdu: &[u8]) -> Result<u16, MalformedReply> {
    let mut reader = Reader::new(pdu);
    reader.bytes(HEADER)?;
    reader.u16()
}

/// The status of a fault (C706 12.6.4.7).
pub(crate) fn fault_status(pdu: &[u8]) -> Result<u32, MalformedReply> {
    let mut reader = Reader::new(pdu);
    reader.bytes(CALL_HEAD)?;
    reader.u32()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rpc::REPLICATION;

    fn head(pdu: &[u8]) -> Header {
        Header::read(pdu[..HEADER].try_into().unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_has_its_own_length_in_its_header() {
        let token = Token { provider: 10, bytes: &[7; 33] };
        let pdus = [
            bind(Kind::Bind, 1, REPLICATION, None),
            bind(Kind::AlterContext, 2, REPLICATION, Some(token)),
            auth3(3, token),
            request(4, 3, Place { is_first: true, is_last: true }, &[1, 2, 3], 3),
            request_to_seal(5, 3, Place { is_first: false, is_last: true }, &[1, 2, 3], 3, 10, 16),
        ];
        for pdu in pdus {
            assert_eq!(head(&pdu).length, pdu.len());
        }
    }

    #[test]
    fn a_fragment_is_full_and_no_more() {
        for token in [16, 76] {
            let room = stub_room(MAX_FRAGMENT, token);
            let place = Place { is_first: true, is_last: true };
            let pdu = request_to_seal(1, 3, place, &vec![0; room], room, 10, token);
            assert!(pdu.len() <= usize::from(MAX_FRAGMENT) && pdu.len() + 16 > usize::from(MAX_FRAGMENT));
            assert_eq!(sealed_parts(&mut pdu.clone(), token).unwrap()[1].len(), room);
        }
    }

    #[test]
    fn headers_that_cannot_be_are_refused() {
        let good: [u8; HEADER] =
            request(1, 3, Place { is_first: true, is_last: true }, &[], 0)[..HEADER].try_into().unwrap();
        assert!(Header::read(&good).is_ok());
        for (at, byte) in [(0, 4), (1, 1), (2, 99), (4, 0), (8, 15), (9, 0xff)] {
            let mut bad = good;
            bad[at] = byte;
            assert!(Header::read(&bad).is_err(), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn pdus_of_any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), HEADER..200), token_length in 0usize..300) {
            let header = Header { kind: Kind::BindAck, is_first: true, is_last: true, signs_headers: true, length: bytes.len(), token_length, call_id: 1 };
            if let Ok(ack) = bind_ack(&header, &bytes) {
                prop_assert_eq!(ack.token.len(), token_length);
            }
            let (nak, fault) = (bind_nak_reason(&bytes), fault_status(&bytes));
            prop_assert!(nak.is_ok() || bytes.len() < HEADER + 2);
            prop_assert!(fault.is_ok() || bytes.len() < CALL_HEAD + 4);
            let mut pdu = bytes.clone();
            if let Some(parts) = sealed_parts(&mut pdu, token_length) {
                prop_assert_eq!(parts.map(|part| part.len()).iter().sum::<usize>(), bytes.len());
            }
        }

        #[test]
        fn headers_of_any_bytes_are_within_bounds(bytes: [u8; HEADER]) {
            if let Ok(header) = Header::read(&bytes) {
                prop_assert!((HEADER..=usize::from(MAX_FRAGMENT)).contains(&header.length));
            }
        }
    }
}
