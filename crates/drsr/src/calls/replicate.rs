//! The request of IDL_DRSGetNCChanges (MS-DRSR 4.1.10.2), versions 8 and 10.

use uuid::Uuid;

use super::{ContextHandle, distinguished_name};
use crate::attribute::{AttributeIds, own_table};
use crate::cursor::{SeenChanges, UsnVector};
use crate::ndr::Writer;
use crate::security_id::SecurityId;

/// DRS_OPTIONS (MS-DRSR 5.41).
const WRITABLE_REPLICA: u32 = 0x0000_0010;
const INITIAL_SYNC: u32 = 0x0000_0020;
const GET_CONTEXT_SIZE: u32 = 0x0000_1000;
const NEVER_SYNCED: u32 = 0x0020_0000;
/// EXOP_REPL_OBJ (MS-DRSR 4.1.10.2.22): this one object, whatever has been seen.
const ONE_OBJECT: u32 = 6;
/// Objects a page; servers have limits of their own, mostly the same.
pub(crate) const PAGE_OBJECTS: u32 = 1000;
/// Bytes a page, to which servers keep roughly.
const PAGE_BYTES: u32 = 8 << 20;

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    /// A page of a naming context.
    Changes {
        naming_context: &'a str,
        invocation_id: Uuid,
        watermark: UsnVector,
        seen: &'a [SeenChanges],
        max_objects: u32,
    },
    /// One object; nil, `None` and the empty name mean "not by this".
    Object { guid: Uuid, sid: Option<&'a SecurityId>, name: &'a str },
}

/// `destination` stands for the client: an existing controller's, which Windows wants for single objects, or
/// [`super::bind::CLIENT`].
pub(crate) fn request(handle: ContextHandle, destination: Uuid, request: &Request<'_>, version_10: bool) -> Vec<u8> {
    let version = if version_10 { 10 } else { 8 };
    let none: &[SeenChanges] = &[];
    let (invocation_id, watermark, seen, flags, max_objects, operation) = match request {
        Request::Changes { invocation_id, watermark, seen, max_objects, .. } => {
            let first = if seen.is_empty() { NEVER_SYNCED } else { 0 };
            (
                *invocation_id,
                *watermark,
                *seen,
                WRITABLE_REPLICA | INITIAL_SYNC | GET_CONTEXT_SIZE | first,
                *max_objects,
                0,
            )
        }
        Request::Object { .. } => {
            (Uuid::nil(), UsnVector::default(), none, WRITABLE_REPLICA | INITIAL_SYNC, 1, ONE_OBJECT)
        }
    };
    let table = own_table();
    let mut writer = Writer::default();
    handle.write(&mut writer);
    writer.u32(version);
    writer.u32(version);
    writer.align(8);
    writer.uuid(destination);
    writer.uuid(invocation_id);
    writer.pointer();
    for number in [watermark.object_update, watermark.reserved, watermark.property_update] {
        writer.i64(number);
    }
    writer.optional_pointer(!seen.is_empty());
    writer.u32(flags);
    writer.u32(max_objects);
    writer.u32(PAGE_BYTES);
    writer.u32(operation);
    // liFsmoInfo belongs to other operations.
    writer.i64(0);
    writer.pointer();
    writer.null();
    table.write(&mut writer);
    if version_10 {
        // ulMoreFlags: link targets are not of interest.
        writer.u32(0);
    }
    match request {
        Request::Changes { naming_context, .. } => {
            distinguished_name::write(&mut writer, Uuid::nil(), None, naming_context)
        }
        Request::Object { guid, sid, name } => distinguished_name::write(&mut writer, *guid, *sid, name),
    }
    if !seen.is_empty() {
        write_seen(&mut writer, seen);
    }
    write_attributes(&mut writer, &AttributeIds::new(&table));
    table.write_entries(&mut writer);
    writer.finish()
}

/// UPTODATE_VECTOR_V1_EXT (MS-DRSR 5.207).
fn write_seen(writer: &mut Writer, seen: &[SeenChanges]) {
    writer.count(seen.len());
    writer.align(8);
    writer.u32(1);
    writer.u32(0);
    writer.count(seen.len());
    writer.u32(0);
    for changes in seen {
        writer.uuid(changes.invocation_id);
        writer.i64(changes.up_to);
    }
}

/// PARTIAL_ATTR_VECTOR_V1_EXT (MS-DRSR 5.145).
fn write_attributes(writer: &mut Writer, ids: &AttributeIds) {
    let count = ids.ids().len();
    writer.count(count);
    writer.u32(1);
    writer.u32(0);
    writer.count(count);
    for id in ids.ids() {
        writer.u32(id.0);
    }
}
