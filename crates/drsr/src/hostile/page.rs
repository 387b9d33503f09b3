//! Replies as a server writes them.

use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use md5::{Digest, Md5};
use rc4::{Rc4, StreamCipher};
use uuid::Uuid;

use crate::attribute::{AccountAttribute, own_table};
use crate::calls::distinguished_name;
use crate::decryption::des_key;
use crate::ndr::Writer;
use crate::security_id::SecurityId;

/// What [`reply`] writes.
#[derive(Clone, Debug)]
pub(super) struct TestPage {
    pub(super) version: u32,
    pub(super) objects: Vec<TestObject>,
    pub(super) more: bool,
    pub(super) usn: i64,
    pub(super) status: u32,
}

#[derive(Clone, Debug)]
pub(super) struct TestObject {
    pub(super) number: u32,
    /// Already encrypted.
    pub(super) values: Vec<(AccountAttribute, Option<Vec<u8>>)>,
}

pub(super) const SERVER: Uuid = Uuid::from_u128(0x5e);

pub(super) fn sid(number: u32) -> SecurityId {
    format!("S-1-5-21-1-2-3-{number}").parse().unwrap()
}

/// `unicodePwd` as it travels.
pub(super) fn encrypted(key: &[u8], hash: [u8; 16], relative_id: u32) -> Vec<u8> {
    let [a, b, c, d] = relative_id.to_le_bytes();
    let mut body = hash;
    for (half, key) in body.as_chunks_mut::<8>().0.iter_mut().zip([[a, b, c, d, a, b, c], [d, a, b, c, d, a, b]]) {
        let mut block = (*half).into();
        Des::new(&des_key(key).into()).encrypt_block(&mut block);
        *half = block.into();
    }
    let salt = [0x5a; 16];
    let mut sealed = [&crc32fast::hash(&body).to_le_bytes()[..], &body].concat();
    let key: [u8; 16] = Md5::new().chain_update(key).chain_update(salt).finalize().into();
    Rc4::new_from_slice(&key).unwrap().apply_keystream(&mut sealed);
    [&salt[..], &sealed].concat()
}

/// The stub of a reply to DRSGetNCChanges, status included.
pub(super) fn reply(page: &TestPage) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u32(page.version);
    writer.u32(page.version);
    writer.align(8);
    writer.uuid(SERVER);
    writer.uuid(SERVER);
    writer.pointer();
    for number in [0, 0, 0, page.usn, 0, page.usn] {
        writer.i64(number);
    }
    writer.pointer();
    own_table().write(&mut writer);
    writer.u32(1);
    writer.count(page.objects.len());
    writer.u32(0);
    writer.optional_pointer(!page.objects.is_empty());
    writer.u32(u32::from(page.more));
    if page.version != 1 {
        for word in [7, 0, 0, 0, 0] {
            writer.u32(word);
        }
    }
    distinguished_name::write(&mut writer, Uuid::nil(), None, "DC=corp,DC=example");
    write_seen(&mut writer, if page.version == 1 { 1 } else { 2 }, page.usn);
    own_table().write_entries(&mut writer);
    for (index, object) in page.objects.iter().enumerate() {
        writer.optional_pointer(index + 1 < page.objects.len());
        writer.pointer();
        writer.u32(0);
        writer.count(object.values.len());
        writer.pointer();
        writer.u32(0);
        writer.pointer();
        writer.pointer();
    }
    page.objects.iter().rev().for_each(|object| write_referents(&mut writer, object));
    writer.u32(page.status);
    writer.finish()
}

fn write_seen(writer: &mut Writer, version: u32, usn: i64) {
    writer.count(1);
    writer.align(8);
    for word in [version, 0, 1, 0] {
        writer.u32(word);
    }
    writer.uuid(SERVER);
    writer.i64(usn);
    if version == 2 {
        writer.i64(0);
    }
}

fn write_referents(writer: &mut Writer, object: &TestObject) {
    let name = format!("CN={},DC=corp,DC=example", object.number);
    writer.align(4);
    distinguished_name::write(writer, Uuid::from_u128(object.number.into()), Some(&sid(object.number)), &name);
    writer.count(object.values.len());
    for (attribute, value) in &object.values {
        writer.u32(own_table().attribute_id(&attribute.identifier()).unwrap().0);
        writer.u32(u32::from(value.is_some()));
        writer.optional_pointer(value.is_some());
    }
    for value in object.values.iter().filter_map(|(_, value)| value.as_ref()) {
        writer.count(1);
        writer.count(value.len());
        writer.pointer();
        writer.count(value.len());
        writer.bytes(value);
    }
    writer.uuid(Uuid::from_u128(1));
    writer.count(object.values.len());
    writer.align(8);
    writer.count(object.values.len());
    for _ in &object.values {
        writer.align(8);
        writer.u32(3);
        writer.i64(13_000_000_000);
        writer.uuid(SERVER);
        writer.i64(77);
    }
}
