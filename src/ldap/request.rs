//! Requests as bytes (RFC 4511, sections 4.1.1, 4.2, 4.5 to 4.9, 4.14).

use zeroize::Zeroizing;

use super::active_directory::{self, DESCRIPTOR_FLAGS_OID};
use super::ber::{ENUMERATED, INTEGER, OCTET_STRING, SEQUENCE, Writer};
use super::content_sync::SYNC_REQUEST_OID;
use super::dir_sync::{self, DIR_SYNC_OID};
use super::password_policy::PASSWORD_POLICY_OID;
use super::search::{Scope, Search};
use super::write::{Modification, Rename};

pub const PAGED_RESULTS_OID: &str = "1.2.840.113556.1.4.319";
const START_TLS_OID: &str = "1.3.6.1.4.1.1466.20037";
/// Asks AD for no continuation references into other domains; ignored elsewhere (MS-ADTS, section 3.1.1.3.4.1.5).
const DOMAIN_SCOPE_OID: &str = "1.2.840.113556.1.4.1339";
/// Shows deleted objects, where the account may see them (MS-ADTS, section 3.1.1.3.4.1.14).
const SHOW_DELETED_OID: &str = "1.2.840.113556.1.4.417";
/// MS-ADTS, section 3.1.1.3.4.1.26.
const SHOW_RECYCLED_OID: &str = "1.2.840.113556.1.4.2064";

const BIND: u8 = 0x60;
const SEARCH: u8 = 0x63;
const MODIFY: u8 = 0x66;
const ADD: u8 = 0x68;
const DELETE: u8 = 0x4a;
const RENAME: u8 = 0x6c;
const EXTENDED: u8 = 0x77;
const SET: u8 = 0x31;
const CONTROLS: u8 = 0xa0;

/// A request in bytes, erased when dropped.
pub type Request = Zeroizing<Vec<u8>>;

pub fn simple_bind(id: u32, dn: &str, password: &str, ask_policy: bool) -> Request {
    message(id, |operation| {
        operation.constructed(BIND, |bind| {
            bind.number(INTEGER, 3).element(OCTET_STRING, dn.as_bytes()).element(0x80, password.as_bytes());
        });
        if ask_policy {
            operation.constructed(CONTROLS, |controls| control(controls, PASSWORD_POLICY_OID, false, None));
        }
    })
}

pub fn start_tls(id: u32) -> Request {
    message(id, |operation| {
        operation.constructed(EXTENDED, |request| {
            request.element(0x80, START_TLS_OID.as_bytes());
        });
    })
}

/// What a search asks for besides its entries.
#[derive(Clone, Copy, Debug)]
pub enum Mode<'a> {
    Plain,
    /// One page of at most that size, continued from a cookie (RFC 2696).
    Page(u32, &'a [u8]),
    /// The same, of deleted objects too (MS-ADTS, section 3.1.1.3.4.1.14).
    PageWithDeleted(u32, &'a [u8]),
    /// What changed since a cookie, or everything (RFC 4533, `refreshOnly`).
    Refresh(Option<&'a [u8]>),
    /// With the part of a security descriptor that every reader may see.
    Descriptor,
    /// What changed in a naming context since a cookie, or everything (DirSync).
    Changes(&'a [u8]),
}

pub fn search(id: u32, search: &Search, size_limit: u32, mode: Mode<'_>) -> Request {
    message(id, |operation| {
        operation.constructed(SEARCH, |request| {
            let scope = match search.scope {
                Scope::Base => 0,
                Scope::OneLevel => 1,
                Scope::Subtree => 2,
            };
            request
                .element(OCTET_STRING, search.base.as_str().as_bytes())
                .number(ENUMERATED, scope)
                .number(ENUMERATED, 0)
                .number(INTEGER, size_limit)
                .number(INTEGER, 0)
                .boolean(false)
                .raw(search.filter.encoded())
                .constructed(SEQUENCE, |attributes| {
                    for attribute in &search.attributes {
                        attributes.element(OCTET_STRING, attribute.as_bytes());
                    }
                });
        });
        operation.constructed(CONTROLS, |controls| match mode {
            Mode::Plain => control(controls, DOMAIN_SCOPE_OID, false, None),
            Mode::Page(size, cookie) | Mode::PageWithDeleted(size, cookie) => {
                control(controls, DOMAIN_SCOPE_OID, false, None);
                if let Mode::PageWithDeleted(..) = mode {
                    control(controls, SHOW_DELETED_OID, true, None);
                    // Where a recycle bin is, objects go on to another state that the first control does not show.
                    control(controls, SHOW_RECYCLED_OID, false, None);
                }
                let mut value = Writer::new();
                value.constructed(SEQUENCE, |page| {
                    page.number(INTEGER, size).element(OCTET_STRING, cookie);
                });
                // Critical: a server that cannot page must say so, not send everything at once.
                control(controls, PAGED_RESULTS_OID, true, Some(&value.finish()));
            }
            // Critical: a server that does not know the control would send entries that mean something else.
            Mode::Refresh(cookie) => {
                control(controls, SYNC_REQUEST_OID, true, Some(&sync_request(cookie)));
            }
            Mode::Descriptor => {
                control(controls, DOMAIN_SCOPE_OID, false, None);
                control(controls, DESCRIPTOR_FLAGS_OID, true, Some(&active_directory::descriptor_flags()));
            }
            Mode::Changes(cookie) => {
                control(controls, DOMAIN_SCOPE_OID, false, None);
                control(controls, DIR_SYNC_OID, true, Some(&dir_sync::request_value(cookie)));
            }
        });
    })
}

pub fn add(id: u32, dn: &str, attributes: &[(String, Vec<Vec<u8>>)]) -> Request {
    message(id, |operation| {
        operation.constructed(ADD, |request| {
            request.element(OCTET_STRING, dn.as_bytes()).constructed(SEQUENCE, |list| {
                attributes.iter().for_each(|(name, values)| attribute(list, name, values));
            });
        });
    })
}

pub fn modify(id: u32, dn: &str, modifications: &[Modification]) -> Request {
    message(id, |operation| {
        operation.constructed(MODIFY, |request| {
            request.element(OCTET_STRING, dn.as_bytes()).constructed(SEQUENCE, |changes| {
                for modification in modifications {
                    changes.constructed(SEQUENCE, |change| {
                        change.number(ENUMERATED, modification.kind.code());
                        attribute(change, &modification.attribute, &modification.values);
                    });
                }
            });
        });
    })
}

pub fn rename(id: u32, dn: &str, rename: &Rename) -> Request {
    message(id, |operation| {
        operation.constructed(RENAME, |request| {
            // The values of the old name go: the entry is called otherwise now.
            request.element(OCTET_STRING, dn.as_bytes()).element(OCTET_STRING, rename.rdn.as_bytes()).boolean(true);
            if let Some(parent) = &rename.parent {
                request.element(0x80, parent.as_str().as_bytes());
            }
        });
    })
}

pub fn delete(id: u32, dn: &str) -> Request {
    message(id, |operation| {
        operation.element(DELETE, dn.as_bytes());
    })
}

fn attribute(list: &mut Writer, name: &str, values: &[Vec<u8>]) {
    list.constructed(SEQUENCE, |attribute| {
        attribute.element(OCTET_STRING, name.as_bytes()).constructed(SET, |set| {
            for value in values {
                set.element(OCTET_STRING, value);
            }
        });
    });
}

/// The value of the Sync Request Control: mode, cookie, no hint (RFC 4533, section 2.2).
fn sync_request(cookie: Option<&[u8]>) -> Request {
    const REFRESH_ONLY: u32 = 1;
    let mut value = Writer::new();
    value.constructed(SEQUENCE, |request| {
        request.number(ENUMERATED, REFRESH_ONLY);
        if let Some(cookie) = cookie {
            request.element(OCTET_STRING, cookie);
        }
    });
    value.finish()
}

fn message(id: u32, write: impl FnOnce(&mut Writer)) -> Request {
    let mut writer = Writer::new();
    writer.constructed(SEQUENCE, |message| {
        message.number(INTEGER, id);
        write(message);
    });
    writer.finish()
}

fn control(controls: &mut Writer, oid: &str, critical: bool, value: Option<&[u8]>) {
    controls.constructed(SEQUENCE, |control| {
        control.element(OCTET_STRING, oid.as_bytes());
        if critical {
            control.boolean(true);
        }
        if let Some(value) = value {
            control.element(OCTET_STRING, value);
        }
    });
}
