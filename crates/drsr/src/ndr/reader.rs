//! Reading.

use uuid::Uuid;

use crate::error::MalformedReply;

/// A place in the bytes of one stub.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn malformed(&self, what: &'static str) -> MalformedReply {
        MalformedReply { what, at: self.at }
    }

    /// Goes to the next multiple of `alignment` (a power of two) from the start of the stub.
    pub(crate) fn align(&mut self, alignment: usize) -> Result<(), MalformedReply> {
        let at = self.at.next_multiple_of(alignment);
        if at > self.bytes.len() {
            return Err(self.malformed("padding"));
        }
        self.at = at;
        Ok(())
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], MalformedReply> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or_else(|| self.malformed("bytes"))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MalformedReply> {
        self.align(N)?;
        let bytes = self.bytes(N)?;
        Ok(bytes.try_into().expect("of this length"))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, MalformedReply> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, MalformedReply> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, MalformedReply> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, MalformedReply> {
        self.align(4)?;
        let bytes: [u8; 16] = self.bytes(16)?.try_into().expect("of this length");
        Ok(Uuid::from_bytes_le(bytes))
    }

    /// A pointer: whether something stands for it among the referents.
    pub(crate) fn pointer(&mut self) -> Result<bool, MalformedReply> {
        self.u32().map(|referent| referent != 0)
    }

    /// The size of a conformant array, whose elements take at least `element` bytes each and are all in the stub.
    pub(crate) fn array_size(&mut self, element: usize) -> Result<usize, MalformedReply> {
        let size = self.u32()?;
        let size = usize::try_from(size).map_err(|_| self.malformed("array size"))?;
        match size.checked_mul(element) {
            Some(needed) if needed <= self.remaining() => Ok(size),
            _ => Err(self.malformed("array size")),
        }
    }

    /// [`Self::array_size`] of an array whose size was announced before.
    pub(crate) fn announced_array(&mut self, announced: u32, element: usize) -> Result<usize, MalformedReply> {
        let size = self.array_size(element)?;
        if u32::try_from(size) != Ok(announced) {
            return Err(self.malformed("array size other than announced"));
        }
        Ok(size)
    }

    /// A string of 16-bit characters, conformant and varying, that ends with a zero (C706 14.3.4).
    pub(crate) fn wide_string(&mut self) -> Result<String, MalformedReply> {
        let size = self.u32()?;
        let offset = self.u32()?;
        let count = self.u32()?;
        if offset != 0 || count > size {
            return Err(self.malformed("string"));
        }
        let count = usize::try_from(count).map_err(|_| self.malformed("string"))?;
        let bytes = self.bytes(count.checked_mul(2).ok_or_else(|| self.malformed("string"))?)?;
        Ok(text(bytes.strip_suffix(&[0, 0]).ok_or_else(|| self.malformed("string without an end"))?))
    }

    pub(crate) fn optional_wide_string(&mut self, present: bool) -> Result<Option<String>, MalformedReply> {
        present.then(|| self.wide_string()).transpose()
    }
}

/// UTF-16LE as text. A lone surrogate, which directories allow in names, becomes the replacement character.
pub(crate) fn text(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ndr::Writer;

    #[test]
    fn numbers_stand_at_multiples_of_their_size() {
        let mut reader = Reader::new(&[1, 0, 9, 9, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(reader.u16(), Ok(1));
        assert_eq!(reader.u32(), Ok(2));
        assert_eq!(reader.i64(), Ok(3));
        assert_eq!(reader.u16(), Err(MalformedReply { what: "bytes", at: 16 }));
    }

    #[test]
    fn a_size_that_cannot_be_there_is_refused_before_anything_is_allocated() {
        let lie = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        assert!(Reader::new(&lie).array_size(1).is_err());
        assert!(Reader::new(&lie).array_size(usize::MAX).is_err());
        assert!(Reader::new(&lie).wide_string().is_err());
        assert!(Reader::new(&[2, 0, 0, 0, 1, 2]).announced_array(1, 1).is_err());
    }

    proptest! {
        #[test]
        fn a_written_string_is_read(value in "\\PC{0,20}", before in 0usize..7) {
            let mut writer = Writer::default();
            writer.bytes(&vec![0; before]);
            writer.wide_string(&value);
            let stub = writer.finish();
            let mut reader = Reader::new(&stub);
            reader.bytes(before).unwrap();
            prop_assert_eq!(reader.wide_string(), Ok(value));
            prop_assert_eq!(reader.remaining(), 0);
        }

        #[test]
        fn strings_of_any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = Reader::new(&bytes).wide_string() {
                prop_assert!(value.len() <= 3 * bytes.len());
            }
        }
    }
}
