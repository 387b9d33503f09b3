//! ept_map (C706 appendix O, MS-RPCE 2.2.1.2): the port on which a server offers an interface.

use super::{NDR, Syntax};
use crate::calls::Call;
use crate::error::MalformedReply;
use crate::ndr::{Reader, Writer};

pub(crate) const MAP: Call = Call { number: 3, name: "ept_map" };

const MAX_TOWERS: u32 = 4;
/// The protocols of a tower's floors (C706 appendix I).
const UUID_FLOOR: u8 = 0x0d;
const CONNECTION_ORIENTED: u8 = 0x0b;
const TCP: u8 = 0x07;
const IP: u8 = 0x09;

pub(crate) fn request(interface: Syntax) -> Vec<u8> {
    let tower = tower(interface);
    let mut writer = Writer::default();
    writer.pointer();
    writer.bytes(&[0; 16]);
    writer.pointer();
    writer.count(tower.len());
    writer.count(tower.len());
    writer.bytes(&tower);
    writer.align(4);
    writer.bytes(&[0; 20]);
    writer.u32(MAX_TOWERS);
    writer.finish()
}

fn tower(interface: Syntax) -> Vec<u8> {
    let mut tower = vec![5, 0];
    for syntax in [interface, NDR] {
        let mut left = vec![UUID_FLOOR];
        left.extend_from_slice(&syntax.id.to_bytes_le());
        left.extend_from_slice(&syntax.major.to_le_bytes());
        floor(&mut tower, &left, &syntax.minor.to_le_bytes());
    }
    floor(&mut tower, &[CONNECTION_ORIENTED], &[0, 0]);
    floor(&mut tower, &[TCP], &[0, 0]);
    floor(&mut tower, &[IP], &[0, 0, 0, 0]);
    tower
}

fn floor(tower: &mut Vec<u8>, left: &[u8], right: &[u8]) {
    for side in [left, right] {
        let length = u16::try_from(side.len()).expect("sides of floors are short");
        tower.extend_from_slice(&length.to_le_bytes());
        tower.extend_from_slice(side);
    }
}

/// The first TCP port among the towers, and none if the server knows none. The addresses beside it are not looked at: the
/// port is the server's that was asked.
pub(crate) fn reply(results: &[u8]) -> Result<Option<u16>, MalformedReply> {
    let mut reader = Reader::new(results);
    reader.bytes(20)?;
    let announced = reader.u32()?;
    let _max_count = reader.u32()?;
    let offset = reader.u32()?;
    let count = reader.announced_array(announced, 4)?;
    if offset != 0 || announced > MAX_TOWERS {
        return Err(reader.malformed("towers"));
    }
    let mut present = Vec::with_capacity(count);
    for _ in 0..count {
        present.push(reader.pointer()?);
    }
    for _ in present.into_iter().filter(|present| *present) {
        let size = reader.array_size(1)?;
        let announced = reader.u32()?;
        if u32::try_from(size) != Ok(announced) {
            return Err(reader.malformed("tower"));
        }
        let port = port_of(reader.bytes(size)?)?;
        if let Some(port) = port {
            return Ok(Some(port));
        }
    }
    Ok(None)
}

fn port_of(tower: &[u8]) -> Result<Option<u16>, MalformedReply> {
    let (count, mut rest) = tower.split_first_chunk::<2>().ok_or(MalformedReply { what: "tower", at: 0 })?;
    for _ in 0..u16::from_le_bytes(*count) {
        let left = side(&mut rest)?;
        let right = side(&mut rest)?;
        if let ([TCP], [high, low]) = (left, right) {
            let port = u16::from_be_bytes([*high, *low]);
            return Ok((port != 0).then_some(port));
        }
    }
    Ok(None)
}

fn side<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], MalformedReply> {
    let malformed = MalformedReply { what: "floor", at: 0 };
    let (length, after) = rest.split_first_chunk::<2>().ok_or_else(|| malformed.clone())?;
    let (side, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length))).ok_or(malformed)?;
    *rest = after;
    Ok(side)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rpc::REPLICATION;

    fn answer(port: u16) -> Vec<u8> {
        let mut tower = tower(REPLICATION);
        let at = tower.len() - 11;
        tower[at..at + 2].copy_from_slice(&port.to_be_bytes());
        let mut writer = Writer::default();
        writer.bytes(&[0; 20]);
        for word in [1, MAX_TOWERS, 0, 1] {
            writer.u32(word);
        }
        writer.pointer();
        writer.count(tower.len());
        writer.count(tower.len());
        writer.bytes(&tower);
        writer.align(4);
        writer.finish()
    }

    #[test]
    fn the_port_is_the_one_of_the_tcp_floor() {
        assert_eq!(reply(&answer(49_153)), Ok(Some(49_153)));
        assert_eq!(reply(&answer(0)), Ok(None));
        let mut none = answer(0)[..36].to_vec();
        none[20..24].copy_from_slice(&[0; 4]);
        none[32..36].copy_from_slice(&[0; 4]);
        assert_eq!(reply(&none), Ok(None));
    }

    #[test]
    fn a_truncated_answer_is_refused() {
        let stub = answer(49_153);
        for length in 0..stub.len() - 12 {
            assert!(reply(&stub[..length]).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn replies_of_any_bytes_are_read_or_refused(noise in prop::collection::vec(any::<(u16, u8)>(), 1..8)) {
            let mut stub = answer(49_153);
            for (at, byte) in noise {
                let at = usize::from(at) % stub.len();
                stub[at] = byte;
            }
            prop_assert_ne!(reply(&stub), Ok(Some(0)));
        }
    }
}
