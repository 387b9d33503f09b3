//! Looks whether bytes are one well-formed value of the distinguished encoding (X.690 clauses 8 and 10), all the way down,
//! before a library that is less careful reads them.

/// Kerberos messages nest some ten deep.
const MAX_DEPTH: usize = 32;
const CONSTRUCTED: u8 = 0x20;
const HIGH_TAG: u8 = 0x1f;
/// Universal types whose content has a form of its own.
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

pub(crate) fn is_one_value(bytes: &[u8]) -> bool {
    take_value(bytes, MAX_DEPTH).is_some_and(<[u8]>::is_empty)
}

/// The first value: its tag, its content, and what follows it.
pub(crate) fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&short, rest) = rest.split_first()?;
    if tag & HIGH_TAG == HIGH_TAG {
        return None;
    }
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x83 => {
            let (octets, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            let length = octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
            // The shortest form only.
            let least = if octets.len() == 1 { 0x80 } else { 1 << (8 * (octets.len() - 1)) };
            (Some(length).filter(|length| *length >= least)?, rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

/// What follows the first value.
fn take_value(bytes: &[u8], depth: usize) -> Option<&[u8]> {
    let depth = depth.checked_sub(1)?;
    let (tag, mut content, after) = split(bytes)?;
    if tag & CONSTRUCTED == 0 {
        let fits = match tag {
            BOOLEAN => content.len() == 1,
            INTEGER | BIT_STRING => !content.is_empty(),
            _ => true,
        };
        return fits.then_some(after);
    }
    while !content.is_empty() {
        content = take_value(content, depth)?;
    }
    Some(after)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_whole_and_alone() {
        let long = [&[0x04, 0x82, 0x01, 0x00][..], &[0; 256]].concat();
        for good in [&[0x30, 0x03, 0x02, 0x01, 0x05][..], &[0x30, 0x00], &[0x04, 0x00], &long] {
            assert!(is_one_value(good), "{good:02x?}");
        }
        let bad: [&[u8]; 9] = [
            &[],
            &[0x30],
            &[0x30, 0x04, 0x02, 0x01, 0x05],
            &[0x30, 0x03, 0x02, 0x01, 0x05, 0x00],
            &[0x30, 0x03, 0x02, 0x02, 0x05],
            &[0x30, 0x80, 0x00, 0x00],
            &[0x04, 0x81, 0x01, 0x00],
            &[0x02, 0x00],
            &[0x1f, 0x81, 0x00],
        ];
        for bad in bad {
            assert!(!is_one_value(bad), "{bad:02x?}");
        }
        // Deeper than anything honest.
        let deep = (0u8..60)
            .rev()
            .fold(Vec::new(), |inner, _| [&[0x30, u8::try_from(inner.len()).unwrap()][..], &inner].concat());
        assert!(!is_one_value(&deep));
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_looked_at(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            is_one_value(&bytes);
        }
    }
}
