//! The replies of IDL_DRSGetNCChanges (MS-DRSR 4.1.10.2.9 to 4.1.10.2.19), versions 1, 6 and 9. The compressed ones, 2 and
//! 7, are never asked for.

use uuid::Uuid;

use super::distinguished_name::DsName;
use crate::cursor::{SeenChanges, UsnVector};
use crate::error::MalformedReply;
use crate::ndr::Reader;
use crate::prefix_table::{AttributeId, PrefixTable};

/// A page as it was received.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) invocation_id: Uuid,
    pub(crate) watermark: UsnVector,
    pub(crate) seen: Vec<SeenChanges>,
    pub(crate) table: PrefixTable,
    pub(crate) objects: Vec<ReplicatedObject<'a>>,
    pub(crate) more: bool,
    /// How many values of links come with the page; they are not read.
    pub(crate) link_values: u32,
    /// About how many objects the naming context has, when the server says.
    pub(crate) context_objects: u32,
    /// The Windows error that stopped the server in mid-page; zero for none.
    pub(crate) error: u32,
}

/// REPLENTINFLIST (MS-DRSR 5.162) without its link to the next one.
#[derive(Debug)]
pub(crate) struct ReplicatedObject<'a> {
    pub(crate) name: DsName<'a>,
    pub(crate) attributes: Vec<Attribute<'a>>,
    /// One for each attribute, in the same order; none when the server sends none.
    pub(crate) stamps: Vec<PropertyStamp>,
}

/// ATTR (MS-DRSR 5.9).
#[derive(Debug)]
pub(crate) struct Attribute<'a> {
    pub(crate) id: AttributeId,
    pub(crate) values: Vec<&'a [u8]>,
}

/// PROPERTY_META_DATA_EXT (MS-DRSR 5.153).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PropertyStamp {
    pub(crate) version: u32,
    /// Seconds since 1601.
    pub(crate) changed_at: i64,
    pub(crate) originating_server: Uuid,
    pub(crate) originating_usn: i64,
}

/// Every object takes at least this much: its head, and its name among the referents.
const HEAD: usize = 32;
const CURSOR_V1: usize = 24;
const CURSOR_V2: usize = 32;
const STAMP: usize = 40;

/// The pointers of one object, whose referents come later.
struct Head {
    name: bool,
    attribute_count: u32,
    attributes: bool,
    parent: bool,
    stamps: bool,
}

/// Reads the results of the call, without its status.
pub(crate) fn reply(results: &[u8]) -> Result<Reply<'_>, MalformedReply> {
    let mut reader = Reader::new(results);
    let version = reader.u32()?;
    if reader.u32()? != version {
        return Err(reader.malformed("version"));
    }
    if !matches!(version, 1 | 6 | 9) {
        return Err(reader.malformed("version that was not asked for"));
    }
    reader.align(8)?;
    reader.uuid()?;
    let invocation_id = reader.uuid()?;
    let has_context = reader.pointer()?;
    usn_vector(&mut reader)?;
    let watermark = usn_vector(&mut reader)?;
    let has_seen = reader.pointer()?;
    let prefix_count = reader.u32()?;
    let has_prefixes = reader.pointer()?;
    let _extended_result = reader.u32()?;
    let _object_count = reader.u32()?;
    let _byte_count = reader.u32()?;
    let has_objects = reader.pointer()?;
    let more = reader.u32()? != 0;
    let mut context_objects = 0;
    let (mut link_values, mut error) = (0, 0);
    if version != 1 {
        context_objects = reader.u32()?;
        let _context_values = reader.u32()?;
        link_values = reader.u32()?;
        // The values of links come after the objects, and are left there.
        let _values = reader.pointer()?;
        error = reader.u32()?;
    }
    if has_context {
        DsName::read(&mut reader)?;
    }
    let seen = if has_seen { read_seen(&mut reader)? } else { Vec::new() };
    let table =
        if has_prefixes { PrefixTable::read_entries(&mut reader, prefix_count)? } else { PrefixTable::default() };
    let objects = if has_objects { read_objects(&mut reader)? } else { Vec::new() };
    Ok(Reply { invocation_id, watermark, seen, table, objects, more, link_values, context_objects, error })
}

fn usn_vector(reader: &mut Reader<'_>) -> Result<UsnVector, MalformedReply> {
    Ok(UsnVector { object_update: reader.i64()?, reserved: reader.i64()?, property_update: reader.i64()? })
}

/// UPTODATE_VECTOR_V1_EXT and _V2_EXT (MS-DRSR 5.207, 5.208).
fn read_seen(reader: &mut Reader<'_>) -> Result<Vec<SeenChanges>, MalformedReply> {
    let size = reader.array_size(CURSOR_V1)?;
    reader.align(8)?;
    let version = reader.u32()?;
    reader.u32()?;
    let announced = reader.u32()?;
    reader.u32()?;
    let length = match version {
        1 => CURSOR_V1,
        2 => CURSOR_V2,
        _ => return Err(reader.malformed("version of the up-to-dateness vector")),
    };
    if u32::try_from(size) != Ok(announced) || size.checked_mul(length).is_none_or(|bytes| bytes > reader.remaining()) {
        return Err(reader.malformed("up-to-dateness vector"));
    }
    let mut seen = Vec::with_capacity(size);
    for _ in 0..size {
        seen.push(SeenChanges { invocation_id: reader.uuid()?, up_to: reader.i64()? });
        if version == 2 {
            reader.i64()?;
        }
    }
    Ok(seen)
}

/// The heads stand one after the other, each the referent of the one before; what they point to follows from the last head
/// to the first, since each head's own link comes before its other pointers (C706 14.3.12.3). Read so, a page of any length
/// needs no recursion.
fn read_objects<'a>(reader: &mut Reader<'a>) -> Result<Vec<ReplicatedObject<'a>>, MalformedReply> {
    let mut heads = Vec::new();
    loop {
        let next = reader.pointer()?;
        let name = reader.pointer()?;
        reader.u32()?;
        let attribute_count = reader.u32()?;
        let attributes = reader.pointer()?;
        reader.u32()?;
        let parent = reader.pointer()?;
        let stamps = reader.pointer()?;
        heads.push(Head { name, attribute_count, attributes, parent, stamps });
        if !next {
            break;
        }
        if reader.remaining() < HEAD {
            return Err(reader.malformed("list of objects"));
        }
    }
    let mut objects = Vec::with_capacity(heads.len());
    for head in heads.iter().rev() {
        if !head.name {
            return Err(reader.malformed("object without a name"));
        }
        let name = DsName::read(reader)?;
        let attributes = read_attributes(reader, head)?;
        if head.parent {
            reader.uuid()?;
        }
        let stamps = if head.stamps { read_stamps(reader)? } else { Vec::new() };
        if !stamps.is_empty() && stamps.len() != attributes.len() {
            return Err(reader.malformed("stamps that are not the attributes'"));
        }
        objects.push(ReplicatedObject { name, attributes, stamps });
    }
    objects.reverse();
    Ok(objects)
}

/// ATTRBLOCK, ATTRVALBLOCK and ATTRVAL (MS-DRSR 5.10, 5.16, 5.17).
fn read_attributes<'a>(reader: &mut Reader<'a>, head: &Head) -> Result<Vec<Attribute<'a>>, MalformedReply> {
    if !head.attributes {
        return if head.attribute_count == 0 { Ok(Vec::new()) } else { Err(reader.malformed("attributes")) };
    }
    let count = reader.announced_array(head.attribute_count, 12)?;
    let mut heads = Vec::with_capacity(count);
    for _ in 0..count {
        heads.push((AttributeId(reader.u32()?), reader.u32()?, reader.pointer()?));
    }
    let mut attributes = Vec::with_capacity(count);
    for (id, value_count, present) in heads {
        let values = match (present, value_count) {
            (true, count) => read_values(reader, count)?,
            (false, 0) => Vec::new(),
            (false, _) => return Err(reader.malformed("values")),
        };
        attributes.push(Attribute { id, values });
    }
    Ok(attributes)
}

fn read_values<'a>(reader: &mut Reader<'a>, announced: u32) -> Result<Vec<&'a [u8]>, MalformedReply> {
    let count = reader.announced_array(announced, 8)?;
    let mut heads = Vec::with_capacity(count);
    for _ in 0..count {
        heads.push((reader.u32()?, reader.pointer()?));
    }
    let mut values = Vec::with_capacity(count);
    for (length, present) in heads {
        values.push(match (present, length) {
            (true, length) => {
                let length = reader.announced_array(length, 1)?;
                reader.bytes(length)?
            }
            (false, 0) => &[],
            (false, _) => return Err(reader.malformed("value")),
        });
    }
    Ok(values)
}

/// PROPERTY_META_DATA_EXT_VECTOR (MS-DRSR 5.154).
fn read_stamps(reader: &mut Reader<'_>) -> Result<Vec<PropertyStamp>, MalformedReply> {
    let size = reader.array_size(STAMP)?;
    reader.align(8)?;
    let announced = reader.u32()?;
    if u32::try_from(size) != Ok(announced) {
        return Err(reader.malformed("stamps"));
    }
    let mut stamps = Vec::with_capacity(size);
    for _ in 0..size {
        reader.align(8)?;
        stamps.push(PropertyStamp {
            version: reader.u32()?,
            changed_at: reader.i64()?,
            originating_server: reader.uuid()?,
            originating_usn: reader.i64()?,
        });
    }
    Ok(stamps)
}
