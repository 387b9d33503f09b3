//! Writing.

use uuid::Uuid;

/// A stub that grows.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    referents: u32,
}

impl Writer {
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn align(&mut self, alignment: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.align(2);
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.align(4);
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.align(8);
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn uuid(&mut self, value: Uuid) {
        self.align(4);
        self.bytes(&value.to_bytes_le());
    }

    /// A pointer to something that is written among the referents.
    pub(crate) fn pointer(&mut self) {
        self.referents += 1;
        // Any number but zero, different for each, as C706 14.3.10 wants; in steps of four as is the custom.
        self.u32(0x0002_0000 + 4 * self.referents);
    }

    pub(crate) fn null(&mut self) {
        self.u32(0);
    }

    pub(crate) fn optional_pointer(&mut self, present: bool) {
        if present { self.pointer() } else { self.null() }
    }

    /// The number of elements of what is about to be written; requests are small.
    pub(crate) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).expect("requests are far below 4 GiB"));
    }

    pub(crate) fn wide_string(&mut self, text: &str) {
        let count = text.encode_utf16().count() + 1;
        self.count(count);
        self.u32(0);
        self.count(count);
        self.units(text);
    }

    /// UTF-16LE with a zero at its end.
    pub(crate) fn units(&mut self, text: &str) {
        self.bytes.extend(text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
    }
}
