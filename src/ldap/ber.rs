//! The subset of BER that LDAP uses (RFC 4511, section 5.1), read without recursion and without copying.
//!
//! INVARIANT: nothing here panics or allocates in proportion to a length that a peer merely claims.

use zeroize::Zeroizing;

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const OCTET_STRING: u8 = 0x04;
pub const ENUMERATED: u8 = 0x0a;
pub const SEQUENCE: u8 = 0x30;

/// Bytes that are not the BER that LDAP allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not BER as LDAP restricts it: {0}")]
pub struct BerError(pub &'static str);

/// The size of the message at the start of `bytes`, header included; `None` while its header is incomplete.
pub fn message_size(bytes: &[u8], limit: usize) -> Result<Option<usize>, BerError> {
    let Some(&tag) = bytes.first() else { return Ok(None) };
    if tag != SEQUENCE {
        return Err(BerError("a message must be a SEQUENCE"));
    }
    let Some((header, length)) = length(bytes)? else { return Ok(None) };
    match header.checked_add(length) {
        Some(total) if total <= limit => Ok(Some(total)),
        _ => Err(BerError("a message is larger than any directory sends")),
    }
}

/// Header size and content length of the element at the start of `bytes`; `None` when the header is incomplete.
fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, BerError> {
    let Some(&first) = bytes.get(1) else { return Ok(None) };
    if first < 0x80 {
        return Ok(Some((2, usize::from(first))));
    }
    let octets = usize::from(first & 0x7f);
    if octets == 0 {
        return Err(BerError("an indefinite length"));
    }
    if octets > 8 {
        return Err(BerError("a length of more than eight octets"));
    }
    let Some(octets_of_length) = bytes.get(2..2 + octets) else { return Ok(None) };
    let length = octets_of_length.iter().fold(0u64, |sum, octet| sum << 8 | u64::from(*octet));
    let length = usize::try_from(length).map_err(|_| BerError("a length beyond memory"))?;
    Ok(Some((2 + octets, length)))
}

/// Reads elements one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element: its tag octet and its content.
    pub fn element(&mut self) -> Result<(u8, &'a [u8]), BerError> {
        let tag = self.peek().ok_or(BerError("an element is missing"))?;
        if tag & 0x1f == 0x1f {
            return Err(BerError("a tag number of several octets"));
        }
        let (header, length) = length(self.0)?.ok_or(BerError("a length is cut off"))?;
        let end = header.checked_add(length).ok_or(BerError("a length beyond memory"))?;
        let content = self.0.get(header..end).ok_or(BerError("an element is longer than what holds it"))?;
        self.0 = &self.0[end..];
        Ok((tag, content))
    }

    /// The content of the next element, which must have `tag`.
    pub fn expect(&mut self, tag: u8) -> Result<&'a [u8], BerError> {
        match self.element()? {
            (found, content) if found == tag => Ok(content),
            _ => Err(BerError("an element of another kind")),
        }
    }

    pub fn constructed(&mut self, tag: u8) -> Result<Reader<'a>, BerError> {
        self.expect(tag).map(Reader)
    }

    /// The next element if it has `tag`.
    pub fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, BerError> {
        if self.peek() == Some(tag) { self.expect(tag).map(Some) } else { Ok(None) }
    }

    pub fn unsigned(&mut self, tag: u8) -> Result<u32, BerError> {
        unsigned(self.expect(tag)?)
    }
}

/// A non-negative INTEGER or ENUMERATED of at most 31 bits, as LDAP's all are.
pub fn unsigned(content: &[u8]) -> Result<u32, BerError> {
    if content.is_empty() || content.len() > 5 || content[0] & 0x80 != 0 {
        return Err(BerError("a number out of range"));
    }
    let number = content.iter().fold(0u64, |sum, octet| sum << 8 | u64::from(*octet));
    u32::try_from(number).map_err(|_| BerError("a number out of range"))
}

/// Writes elements. The buffer is erased when dropped, for it may hold a password.
#[derive(Default)]
pub struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    pub fn new() -> Self {
        // Room for any bind, so that growing leaves no copy of a password behind.
        Self(Zeroizing::new(Vec::with_capacity(4096)))
    }

    pub fn element(&mut self, tag: u8, content: &[u8]) -> &mut Self {
        self.0.push(tag);
        let length = content.len();
        if length < 0x80 {
            self.0.push(length as u8);
        } else {
            let octets = length.to_be_bytes();
            let skip = octets.iter().take_while(|octet| **octet == 0).count();
            self.0.push(0x80 | (octets.len() - skip) as u8);
            self.0.extend_from_slice(&octets[skip..]);
        }
        self.0.extend_from_slice(content);
        self
    }

    pub fn constructed(&mut self, tag: u8, write: impl FnOnce(&mut Writer)) -> &mut Self {
        let mut inner = Writer::new();
        write(&mut inner);
        self.element(tag, &inner.0)
    }

    pub fn number(&mut self, tag: u8, number: u32) -> &mut Self {
        let octets = u64::from(number).to_be_bytes();
        // The first octet's high bit is the sign: keep a zero in front of it.
        let skip = octets.windows(2).take_while(|pair| pair[0] == 0 && pair[1] & 0x80 == 0).count();
        self.element(tag, &octets[skip..])
    }

    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.element(BOOLEAN, &[if value { 0xff } else { 0 }])
    }

    /// Appends elements that are encoded already.
    pub fn raw(&mut self, encoded: &[u8]) -> &mut Self {
        self.0.extend_from_slice(encoded);
        self
    }

    pub fn finish(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_round_trip_at_their_edges() {
        for number in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, i32::MAX as u32] {
            let mut writer = Writer::new();
            writer.number(INTEGER, number);
            let bytes = writer.finish();
            assert_eq!(Reader::new(&bytes).unsigned(INTEGER), Ok(number), "{bytes:02x?}");
        }
        assert_eq!(unsigned(&[0xff]), Err(BerError("a number out of range")));
        assert_eq!(unsigned(&[]), Err(BerError("a number out of range")));
    }

    #[test]
    fn a_claimed_length_costs_nothing() {
        let huge = [SEQUENCE, 0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(message_size(&huge, 1 << 20), Err(BerError("a message is larger than any directory sends")));
        assert!(Reader::new(&huge).element().is_err());
        assert_eq!(message_size(&[SEQUENCE, 0x80], 100), Err(BerError("an indefinite length")));
        assert_eq!(message_size(&[0x16, 3, 1], 100), Err(BerError("a message must be a SEQUENCE")));
        assert_eq!(message_size(&[SEQUENCE, 0x82, 1], 1000), Ok(None));
        assert_eq!(message_size(&[SEQUENCE, 0x82, 1, 0], 1000), Ok(Some(260)));
    }

    proptest! {
        #[test]
        fn elements_round_trip(content in proptest::collection::vec(any::<u8>(), 0..700)) {
            let mut writer = Writer::new();
            writer.element(OCTET_STRING, &content);
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.expect(OCTET_STRING), Ok(&content[..]));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            while !reader.is_empty() {
                if reader.element().is_err() { break }
            }
        }
    }
}
