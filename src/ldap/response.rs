//! Responses read from bytes (RFC 4511, section 4.1.1 onward). Whatever is not one is an error, never a panic.

use super::ber::{BOOLEAN, BerError, ENUMERATED, INTEGER, OCTET_STRING, Reader, SEQUENCE};
use super::entry::Entry;
use super::request::PAGED_RESULTS_OID;

#[derive(Debug)]
pub struct Message {
    /// 0 for an unsolicited notification.
    pub id: u32,
    pub response: Response,
    pub controls: Vec<Control>,
}

#[derive(Debug)]
pub enum Response {
    Bind(Outcome),
    /// An entry, or the text of its name when that is no distinguished name.
    Entry(Result<Entry, String>),
    /// A continuation reference: part of the answer lies on another server.
    Reference,
    SearchDone(Outcome),
    /// The answer to an add, modify, rename or delete.
    Written(Outcome),
    Extended(Outcome),
    /// An intermediate response (RFC 4511, section 4.13): its name and value.
    Intermediate {
        name: Option<String>,
        value: Option<Vec<u8>>,
    },
}

/// The components of a result (RFC 4511, section 4.1.9).
#[derive(Debug)]
pub struct Outcome {
    pub code: u32,
    /// Cut to a length fit for logs; bytes that are not UTF-8 are replaced.
    pub diagnostic: String,
}

#[derive(Debug)]
pub struct Control {
    pub oid: String,
    pub value: Option<Vec<u8>>,
}

/// Longest diagnostic text that is kept.
const MAX_DIAGNOSTIC: usize = 500;
/// More controls than any response has.
const MAX_CONTROLS: usize = 32;

impl Message {
    pub fn read(bytes: &[u8]) -> Result<Self, BerError> {
        let mut message = Reader::new(bytes).constructed(SEQUENCE)?;
        let id = message.unsigned(INTEGER)?;
        let (tag, content) = message.element()?;
        let response = match tag {
            0x61 => Response::Bind(Outcome::read(content)?),
            0x64 => Response::Entry(Entry::read(content)?),
            0x65 => Response::SearchDone(Outcome::read(content)?),
            0x67 | 0x69 | 0x6b | 0x6d => Response::Written(Outcome::read(content)?),
            0x73 => Response::Reference,
            0x78 => Response::Extended(Outcome::read(content)?),
            0x79 => intermediate(content)?,
            _ => return Err(BerError("a response of an unknown kind")),
        };
        // Active Directory puts the name of its notice of disconnection (0x8a) behind the operation.
        message.optional(0x8a)?;
        let mut controls = Vec::new();
        if let Some(list) = message.optional(0xa0)? {
            let mut list = Reader::new(list);
            while !list.is_empty() {
                if controls.len() == MAX_CONTROLS {
                    return Err(BerError("too many controls"));
                }
                controls.push(Control::read(list.constructed(SEQUENCE)?)?);
            }
        }
        if message.is_empty() {
            Ok(Self { id, response, controls })
        } else {
            Err(BerError("a message with more than its parts"))
        }
    }

    /// The cookie of the paged results control (RFC 2696); `None` when the control is absent.
    pub fn page_cookie(&self) -> Result<Option<Vec<u8>>, BerError> {
        let Some(control) = self.controls.iter().find(|control| control.oid == PAGED_RESULTS_OID) else {
            return Ok(None);
        };
        let value = control.value.as_deref().ok_or(BerError("a paging control without value"))?;
        let mut page = Reader::new(value).constructed(SEQUENCE)?;
        // The server's estimate of the total; some send what does not fit, and nobody needs it.
        page.expect(INTEGER)?;
        page.expect(OCTET_STRING).map(|cookie| Some(cookie.to_vec()))
    }
}

fn intermediate(content: &[u8]) -> Result<Response, BerError> {
    let mut fields = Reader::new(content);
    let name = match fields.optional(0x80)? {
        Some(name) => Some(std::str::from_utf8(name).map_err(|_| BerError("text that is not UTF-8"))?.to_owned()),
        None => None,
    };
    Ok(Response::Intermediate { name, value: fields.optional(0x81)?.map(<[u8]>::to_vec) })
}

impl Outcome {
    fn read(content: &[u8]) -> Result<Self, BerError> {
        let mut fields = Reader::new(content);
        let code = fields.unsigned(ENUMERATED)?;
        fields.expect(OCTET_STRING)?;
        let text = fields.expect(OCTET_STRING)?;
        let mut diagnostic = String::from_utf8_lossy(&text[..text.len().min(MAX_DIAGNOSTIC)]).into_owned();
        diagnostic.retain(|c| !c.is_control());
        Ok(Self { code, diagnostic })
    }
}

impl Control {
    fn read(mut fields: Reader<'_>) -> Result<Self, BerError> {
        let oid = std::str::from_utf8(fields.expect(OCTET_STRING)?).map_err(|_| BerError("text that is not UTF-8"))?;
        fields.optional(BOOLEAN)?;
        let value = fields.optional(OCTET_STRING)?.map(<[u8]>::to_vec);
        Ok(Self { oid: oid.to_owned(), value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A bind response 49 with the policy control "account locked".
    const LOCKED: &[u8] = &[
        0x30, 0x3a, 2, 1, 2, 0x61, 7, 0x0a, 1, 49, 4, 0, 4, 0, 0xa0, 0x2c, 0x30, 0x2a, 4, 0x19, b'1', b'.', b'3', b'.',
        b'6', b'.', b'1', b'.', b'4', b'.', b'1', b'.', b'4', b'2', b'.', b'2', b'.', b'2', b'7', b'.', b'8', b'.',
        b'5', b'.', b'1', 1, 1, 0, 4, 5, 0x30, 3, 0x81, 1, 1, 4, 1, 0, 0, 0,
    ];

    #[test]
    fn a_cut_message_is_refused_wherever_it_is_cut() {
        for cut in 0..LOCKED.len() {
            assert!(Message::read(&LOCKED[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn the_notice_of_disconnection_of_active_directory_is_read() {
        let notice = [&[0x30, 0x0f, 2, 1, 0, 0x78, 7, 0x0a, 1, 52, 4, 0, 4, 0, 0x8a, 1][..], b"1"].concat();
        let message = Message::read(&notice).expect("a notice");
        assert!(matches!(message.response, Response::Extended(Outcome { code: 52, .. })));
        assert_eq!(message.id, 0);
    }

    proptest! {
        #[test]
        fn changed_bytes_are_read_or_refused(at in 0..LOCKED.len(), byte: u8) {
            let mut bytes = LOCKED.to_vec();
            bytes[at] = byte;
            if let Ok(message) = Message::read(&bytes) { prop_assert!(message.page_cookie().is_ok()); }
        }

        #[test]
        fn random_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Message::read(&bytes).is_err() || !bytes.is_empty());
        }
    }
}
