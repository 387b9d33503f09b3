//! The calls of the directory replication interface (MS-DRSR 4.1) that are used: what is sent and what is read, without
//! any I/O. Each reply is the stub of one call, whose last four bytes are the call's status.

pub(crate) mod bind;
pub(crate) mod crack_names;
pub(crate) mod distinguished_name;
pub(crate) mod domain_controllers;
pub(crate) mod replica;
pub(crate) mod replicate;

use crate::error::MalformedReply;
use crate::ndr::{Reader, Writer};

/// A call: its number in the interface, and its name for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: u16,
    pub(crate) name: &'static str,
}

pub(crate) const BIND: Call = Call { number: 0, name: "DRSBind" };
pub(crate) const UNBIND: Call = Call { number: 1, name: "DRSUnbind" };
pub(crate) const GET_CHANGES: Call = Call { number: 3, name: "DRSGetNCChanges" };
pub(crate) const CRACK_NAMES: Call = Call { number: 12, name: "DRSCrackNames" };
pub(crate) const DOMAIN_CONTROLLERS: Call = Call { number: 16, name: "DRSDomainControllerInfo" };

/// What a server calls this client's binding by (MS-DRSR 5.57, DRS_HANDLE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContextHandle([u8; 20]);

impl ContextHandle {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, MalformedReply> {
        reader.align(4)?;
        Ok(Self(reader.bytes(20)?.try_into().expect("of this length")))
    }

    pub(crate) fn write(self, writer: &mut Writer) {
        writer.bytes(&self.0);
    }
}

/// A reply cut into its results and its status.
pub(crate) fn split_status(stub: &[u8]) -> Result<(&[u8], u32), MalformedReply> {
    let (results, status) = stub.split_last_chunk::<4>().ok_or(MalformedReply { what: "status", at: 0 })?;
    Ok((results, u32::from_le_bytes(*status)))
}
