//! Checks a CHALLENGE_MESSAGE (MS-NLMP 2.2.1.2) before the security provider reads it: what gets past here has its fields
//! inside the message, a well-formed list of target information, and every flag that sealing needs.

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";
const HEADER: usize = 48;
/// UNICODE, SIGN, SEAL, EXTENDED_SESSIONSECURITY, TARGET_INFO, 128, KEY_EXCH (MS-NLMP 2.2.2.5).
const NEEDED_FLAGS: u32 =
    0x0000_0001 | 0x0000_0010 | 0x0000_0020 | 0x0008_0000 | 0x0080_0000 | 0x2000_0000 | 0x4000_0000;
/// The ids of AV_PAIR (MS-NLMP 2.2.2.1) and the lengths that some of them have.
const END: u16 = 0;
const FLAGS: u16 = 6;
const TIMESTAMP: u16 = 7;
const SINGLE_HOST: u16 = 8;
const CHANNEL_BINDINGS: u16 = 10;
const LARGEST_ID: u16 = 10;

/// What is wrong with it, if anything.
pub(crate) fn check(message: &[u8]) -> Result<(), &'static str> {
    if message.len() < HEADER || message[..8] != *SIGNATURE || word(message, 8) != 2 {
        return Err("the NTLM challenge is none");
    }
    if word(message, 20) & NEEDED_FLAGS != NEEDED_FLAGS {
        return Err("the server does not offer NTLM with signing and 128-bit sealing");
    }
    field(message, 12)?;
    let mut pairs = field(message, 40)?;
    let mut has_timestamp = false;
    loop {
        let (head, rest) =
            pairs.split_at_checked(4).ok_or("the target information of the NTLM challenge has no end")?;
        let (id, length) = (half(head, 0), usize::from(half(head, 2)));
        let known = match id {
            END => length == 0,
            FLAGS => length == 4,
            TIMESTAMP => length == 8,
            SINGLE_HOST => length >= 48,
            CHANNEL_BINDINGS => length == 16,
            other => other <= LARGEST_ID,
        };
        if !known || length > rest.len() {
            return Err("the target information of the NTLM challenge is malformed");
        }
        has_timestamp |= id == TIMESTAMP;
        if id == END {
            break;
        }
        pairs = &rest[length..];
    }
    // With the server's own time in the answer no clock of ours matters, and the answer carries a check of all three messages.
    if has_timestamp { Ok(()) } else { Err("the NTLM challenge carries no time") }
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The bytes that a field descriptor names.
fn field(message: &[u8], at: usize) -> Result<&[u8], &'static str> {
    let length = usize::from(half(message, at));
    let offset =
        usize::try_from(word(message, at + 4)).map_err(|_| "a field of the NTLM challenge lies outside of it")?;
    let end = offset.checked_add(length).ok_or("a field of the NTLM challenge lies outside of it")?;
    message.get(offset..end).ok_or("a field of the NTLM challenge lies outside of it")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A challenge with these target information pairs, which are its last field.
    fn challenge(pairs: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let of_pair = |(id, value): &(u16, Vec<u8>)| {
            let length = u16::try_from(value.len()).unwrap();
            [&id.to_le_bytes()[..], &length.to_le_bytes(), value].concat()
        };
        let information: Vec<u8> = pairs.iter().flat_map(of_pair).collect();
        let length = u16::try_from(information.len()).unwrap().to_le_bytes();
        let mut message = SIGNATURE.to_vec();
        message.extend(2_u32.to_le_bytes());
        message.extend([0, 0, 0, 0, 56, 0, 0, 0]);
        message.extend(NEEDED_FLAGS.to_le_bytes());
        message.extend([7; 8]);
        message.extend([0; 8]);
        message.extend([length[0], length[1], length[0], length[1], 56, 0, 0, 0]);
        message.extend([0; 8]);
        message.extend(information);
        message
    }

    fn good() -> Vec<u8> {
        challenge(&[(2, b"C\0".to_vec()), (TIMESTAMP, vec![1; 8]), (END, Vec::new())])
    }

    #[test]
    fn a_challenge_has_a_time_and_an_end_and_nothing_outside_of_it() {
        assert_eq!(check(&good()), Ok(()));
        assert!(check(&challenge(&[(2, Vec::new()), (END, Vec::new())])).is_err());
        assert!(check(&challenge(&[(TIMESTAMP, vec![1; 8])])).is_err());
        assert!(check(&challenge(&[(TIMESTAMP, vec![1; 7]), (END, Vec::new())])).is_err());
        assert!(check(&challenge(&[(99, Vec::new()), (TIMESTAMP, vec![1; 8]), (END, Vec::new())])).is_err());
        for length in 0..good().len() {
            assert!(check(&good()[..length]).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_looked_at(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = check(&bytes);
        }

        #[test]
        fn lies_within_a_challenge_are_looked_at(at in any::<prop::sample::Index>(), word in any::<[u8; 4]>()) {
            let mut message = good();
            let at = at.index(message.len() - 3);
            message[at..at + 4].copy_from_slice(&word);
            let _ = check(&message);
        }
    }
}
