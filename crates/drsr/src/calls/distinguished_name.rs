//! DSNAME (MS-DRSR 5.50): an object by name, GUID, security identifier or all of them.

use uuid::Uuid;

use crate::error::MalformedReply;
use crate::ndr::{self, Reader, Writer};
use crate::security_id::SecurityId;

const SID_BYTES: usize = 28;
/// The fixed part: structLen, SidLen, Guid, Sid, NameLen.
const FIXED: usize = 4 + 4 + 16 + SID_BYTES + 4;

/// An object in a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DsName<'a> {
    pub(crate) guid: Uuid,
    pub(crate) sid: Option<SecurityId>,
    name: &'a [u8],
}

impl<'a> DsName<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, MalformedReply> {
        let size = reader.array_size(2)?;
        reader.u32()?;
        let sid_length = reader.u32()?;
        let guid = reader.uuid()?;
        let sid = reader.bytes(SID_BYTES)?;
        let length = usize::try_from(reader.u32()?).map_err(|_| reader.malformed("name"))?;
        if length > size {
            return Err(reader.malformed("name"));
        }
        let units = reader.bytes(size.checked_mul(2).ok_or_else(|| reader.malformed("name"))?)?;
        let sid = usize::try_from(sid_length).ok().and_then(|length| sid.get(..length));
        Ok(Self { guid, sid: sid.and_then(|sid| SecurityId::from_bytes(sid).ok()), name: &units[..2 * length] })
    }

    pub(crate) fn text(&self) -> String {
        ndr::text(self.name)
    }
}

/// An object in a request: nil, `None` and the empty name mean "not by this".
pub(crate) fn write(writer: &mut Writer, guid: Uuid, sid: Option<&SecurityId>, name: &str) {
    let units = name.encode_utf16().count();
    writer.count(units + 1);
    writer.count(FIXED + 2 * (units + 1));
    let sid = sid.map(SecurityId::to_bytes).unwrap_or_default();
    // INVARIANT: identifiers of accounts and domains have at most five parts, which is 28 bytes; a longer one is no account's.
    let sid = if sid.len() > SID_BYTES { Vec::new() } else { sid };
    writer.count(sid.len());
    writer.uuid(guid);
    let mut padded = [0; SID_BYTES];
    padded[..sid.len()].copy_from_slice(&sid);
    writer.bytes(&padded);
    writer.count(units);
    writer.units(name);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_written_name_is_read(number: u128, name in "\\PC{0,30}", relative_id: u32, with_sid: bool) {
            let sid: Option<SecurityId> = with_sid.then(|| format!("S-1-5-21-1-2-3-{relative_id}").parse().unwrap());
            let mut writer = Writer::default();
            write(&mut writer, Uuid::from_u128(number), sid.as_ref(), &name);
            let stub = writer.finish();
            let mut reader = Reader::new(&stub);
            let read = DsName::read(&mut reader).unwrap();
            prop_assert_eq!(reader.remaining(), 0);
            prop_assert_eq!((read.guid, &read.sid, read.text()), (Uuid::from_u128(number), &sid, name));
            for length in 0..stub.len() {
                prop_assert!(DsName::read(&mut Reader::new(&stub[..length])).is_err());
            }
        }
    }
}
