//! IDL_DRSBind (MS-DRSR 4.1.3) and IDL_DRSUnbind (4.1.25).

use uuid::{Uuid, uuid};

use super::ContextHandle;
use crate::error::MalformedReply;
use crate::ndr::{Reader, Writer};

/// NTDSAPI_CLIENT_GUID (MS-DRSR 5.138): a client that is no domain controller.
pub(crate) const CLIENT: Uuid = uuid!("e24d201a-4fd6-11d1-a3da-0000f875ae0d");

/// What one side can do (DRS_EXTENSIONS_INT, MS-DRSR 5.39).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extensions {
    flags: u32,
    epoch: u32,
}

const BASE: u32 = 0x0000_0001;
const STRONG_ENCRYPTION: u32 = 0x0000_8000;
const NON_DOMAIN_CONTEXTS: u32 = 0x0080_0000;
const REQUEST_V6: u32 = 0x0040_0000;
const REQUEST_V8: u32 = 0x0100_0000;
const REPLY_V6: u32 = 0x0400_0000;
const REQUEST_V10: u32 = 0x2000_0000;

/// dwFlags, SiteObjGuid, Pid, dwReplEpoch, dwFlagsExt, ConfigObjGUID, dwExtCaps.
const LENGTH: usize = 52;
const EPOCH_AT: usize = 24;

impl Extensions {
    /// What this client can do. The bits for compressed replies are left out, so that a server sends none.
    pub(crate) fn own(epoch: u32) -> Self {
        let flags = BASE | STRONG_ENCRYPTION | NON_DOMAIN_CONTEXTS | REQUEST_V6 | REQUEST_V8 | REPLY_V6 | REQUEST_V10;
        Self { flags, epoch }
    }

    /// Set when the domain was renamed: a client binds once more with the server's value (MS-DRSR 4.1.3.2).
    pub(crate) fn epoch(self) -> u32 {
        self.epoch
    }

    pub(crate) fn takes_request_v10(self) -> bool {
        self.flags & REQUEST_V10 != 0
    }

    /// What is missing for passwords to be replicated.
    pub(crate) fn missing(self) -> Option<&'static str> {
        if self.flags & STRONG_ENCRYPTION == 0 {
            Some("passwords (no strong encryption)")
        } else if self.flags & (REQUEST_V8 | REPLY_V6) != REQUEST_V8 | REPLY_V6 {
            Some("by the messages of Windows Server 2003 (no requests of version 8 with replies of version 6)")
        } else {
            None
        }
    }
}

pub(crate) fn request(extensions: Extensions) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.pointer();
    writer.uuid(CLIENT);
    writer.pointer();
    writer.count(LENGTH);
    writer.count(LENGTH);
    let mut bytes = [0; LENGTH];
    bytes[..4].copy_from_slice(&extensions.flags.to_le_bytes());
    bytes[EPOCH_AT..EPOCH_AT + 4].copy_from_slice(&extensions.epoch.to_le_bytes());
    writer.bytes(&bytes);
    writer.finish()
}

pub(crate) fn reply(results: &[u8]) -> Result<(Extensions, ContextHandle), MalformedReply> {
    let mut reader = Reader::new(results);
    // Servers send 28, 48 or 52 bytes; what is missing counts as zero.
    let mut bytes = [0; LENGTH];
    if reader.pointer()? {
        let size = reader.array_size(1)?;
        let announced = reader.u32()?;
        if u32::try_from(size) != Ok(announced) {
            return Err(reader.malformed("extensions"));
        }
        let received = reader.bytes(size)?;
        let known = received.len().min(LENGTH);
        bytes[..known].copy_from_slice(&received[..known]);
    }
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let extensions = Extensions { flags: word(0), epoch: word(EPOCH_AT) };
    Ok((extensions, ContextHandle::read(&mut reader)?))
}

pub(crate) fn unbind_request(handle: ContextHandle) -> Vec<u8> {
    let mut writer = Writer::default();
    handle.write(&mut writer);
    writer.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(extensions: &[u8]) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.pointer();
        writer.count(extensions.len());
        writer.count(extensions.len());
        writer.bytes(extensions);
        writer.align(4);
        writer.bytes(&[7; 20]);
        writer.finish()
    }

    #[test]
    fn short_and_long_answers_are_read_alike() {
        let mut bytes = [0; 60];
        bytes[..4].copy_from_slice(&Extensions::own(0).flags.to_le_bytes());
        bytes[EPOCH_AT] = 3;
        for length in [28, 48, 52, 60] {
            let (extensions, handle) = reply(&answer(&bytes[..length])).unwrap();
            assert_eq!(extensions, Extensions::own(3), "{length}");
            assert_eq!(extensions.missing(), None);
            assert_eq!(handle, ContextHandle([7; 20]));
        }
        assert!(reply(&answer(&bytes[..4])).unwrap().0.missing().is_none());
        assert!(reply(&answer(&[])).unwrap().0.missing().is_some());
    }

    proptest! {
        #[test]
        fn replies_of_any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Ok((extensions, _)) = reply(&bytes) {
                extensions.missing();
            }
        }
    }
}
