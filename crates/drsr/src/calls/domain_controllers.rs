//! IDL_DRSDomainControllerInfo (MS-DRSR 4.1.5), level 2: the controllers of a domain.

use uuid::Uuid;

use super::ContextHandle;
use crate::error::MalformedReply;
use crate::ndr::{Reader, Writer};

/// A controller as its domain knows it (DS_DOMAIN_CONTROLLER_INFO_2W, MS-DRSR 4.1.5.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainController {
    pub netbios_name: Option<String>,
    pub dns_name: Option<String>,
    pub site: Option<String>,
    pub is_global_catalog: bool,
    /// The objectGUID of its settings object, by which replication partners know it.
    pub directory_agent: Uuid,
}

/// Seven pointers to text, three flags, four GUIDs.
const ITEM: usize = 7 * 4 + 3 * 4 + 4 * 16;

pub(crate) fn request(handle: ContextHandle, domain: &str) -> Vec<u8> {
    let mut writer = Writer::default();
    handle.write(&mut writer);
    writer.u32(1);
    writer.u32(1);
    writer.pointer();
    writer.u32(2);
    writer.wide_string(domain);
    writer.finish()
}

pub(crate) fn reply(results: &[u8]) -> Result<Vec<DomainController>, MalformedReply> {
    let mut reader = Reader::new(results);
    if (reader.u32()?, reader.u32()?) != (2, 2) {
        return Err(reader.malformed("version"));
    }
    let announced = reader.u32()?;
    if !reader.pointer()? {
        return if announced == 0 { Ok(Vec::new()) } else { Err(reader.malformed("controllers")) };
    }
    let count = reader.announced_array(announced, ITEM)?;
    let mut heads = Vec::with_capacity(count);
    for _ in 0..count {
        let mut texts = [false; 7];
        for text in &mut texts {
            *text = reader.pointer()?;
        }
        let [_primary, _enabled, global_catalog] = [reader.u32()?, reader.u32()?, reader.u32()?];
        let [_site, _computer, _server, directory_agent] =
            [reader.uuid()?, reader.uuid()?, reader.uuid()?, reader.uuid()?];
        heads.push((texts, global_catalog != 0, directory_agent));
    }
    let mut controllers = Vec::with_capacity(count);
    for (texts, is_global_catalog, directory_agent) in heads {
        let mut read = [const { None }; 7];
        for (text, present) in read.iter_mut().zip(texts) {
            *text = reader.optional_wide_string(present)?;
        }
        let [netbios_name, dns_name, site, ..] = read;
        controllers.push(DomainController { netbios_name, dns_name, site, is_global_catalog, directory_agent });
    }
    Ok(controllers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer() -> Vec<u8> {
        let mut writer = Writer::default();
        for word in [2, 2, 1] {
            writer.u32(word);
        }
        writer.pointer();
        writer.count(1);
        for present in [true, true, false, false, false, false, false] {
            writer.optional_pointer(present);
        }
        for flag in [1, 1, 1] {
            writer.u32(flag);
        }
        for number in 1..=4 {
            writer.uuid(Uuid::from_u128(number));
        }
        writer.wide_string("DC1");
        writer.wide_string("dc1.corp.example");
        writer.finish()
    }

    #[test]
    fn a_controller_is_read_whole_or_not_at_all() {
        let stub = answer();
        let controllers = reply(&stub).unwrap();
        assert_eq!(controllers.len(), 1);
        assert_eq!(controllers[0].dns_name.as_deref(), Some("dc1.corp.example"));
        assert_eq!(controllers[0].directory_agent, Uuid::from_u128(4));
        for length in 0..stub.len() {
            assert!(reply(&stub[..length]).is_err());
        }
    }

    proptest! {
        #[test]
        fn replies_of_any_bytes_are_read_or_refused(noise in prop::collection::vec(any::<(u16, u8)>(), 1..8)) {
            let mut stub = answer();
            for (at, byte) in noise {
                let at = usize::from(at) % stub.len();
                stub[at] = byte;
            }
            if let Ok(controllers) = reply(&stub) {
                prop_assert!(controllers.len() <= 1);
            }
        }
    }
}
