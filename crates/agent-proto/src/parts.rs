//! Work for the sync engine: messages of any length, cut into parts, so that no check waits behind one.
//!
//! An exchange is a conversation about one piece of work, under a [`RequestId`] of its own. What the two sides say in it
//! is theirs; here it is bytes. The gateway asks ([`ToAgent::Ask`](crate::ToAgent::Ask)), the agent tells
//! ([`ToGateway::Tell`](crate::ToGateway::Tell)), either side in messages of one or more [`Part`]s. The agent tells at
//! most [`WINDOW`] parts that the gateway has not granted room for: whoever reads slowly is never flooded, and each side
//! holds a bounded amount.

use minicbor::{Decode, Encode};

use crate::ids::RequestId;

/// Bytes of a part, at most.
pub const LARGEST_PART: usize = 48 * 1024;
/// Parts that an agent may tell before more are granted.
pub const WINDOW: u32 = 16;
/// Bytes of a message of an exchange, at most: an object with a large photograph, or a group of some hundred thousand.
pub const LARGEST_WORD: usize = 32 * 1024 * 1024;

/// A piece of a message of an exchange.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    #[n(0)]
    pub request: RequestId,
    /// Counts the parts of one direction of an exchange, from zero.
    #[n(1)]
    pub sequence: u32,
    /// The message ends with it.
    #[n(2)]
    pub last: bool,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

/// What came is not the rest of what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    #[error("part {got} came where part {expected} was due")]
    Sequence { expected: u32, got: u32 },
    #[error("a part has {0} bytes, more than {LARGEST_PART}")]
    PartTooLong(usize),
    #[error("a message has more than {LARGEST_WORD} bytes")]
    WordTooLong,
}

/// Cuts the messages of one direction of an exchange.
#[derive(Debug)]
pub struct Cutter {
    request: RequestId,
    next: u32,
}

impl Cutter {
    pub fn new(request: RequestId) -> Self {
        Self { request, next: 0 }
    }

    /// The parts of a message, in their order. `None`: it is longer than [`LARGEST_WORD`].
    pub fn cut<'a>(&'a mut self, word: &'a [u8]) -> Option<impl Iterator<Item = Part> + 'a> {
        if word.len() > LARGEST_WORD {
            return None;
        }
        let count = word.len().div_ceil(LARGEST_PART).max(1);
        Some((0..count).map(move |index| {
            let begin = index * LARGEST_PART;
            let end = word.len().min(begin + LARGEST_PART);
            let sequence = self.next;
            self.next = self.next.wrapping_add(1);
            Part { request: self.request, sequence, last: index + 1 == count, bytes: word[begin..end].to_vec() }
        }))
    }
}

/// Puts the messages of one direction of an exchange together again.
#[derive(Debug, Default)]
pub struct Joiner {
    next: u32,
    held: Vec<u8>,
}

impl Joiner {
    /// Takes a part in; answers the message that it ends.
    pub fn take(&mut self, part: Part) -> Result<Option<Vec<u8>>, PartError> {
        if part.sequence != self.next {
            return Err(PartError::Sequence { expected: self.next, got: part.sequence });
        }
        if part.bytes.len() > LARGEST_PART {
            return Err(PartError::PartTooLong(part.bytes.len()));
        }
        if self.held.len() + part.bytes.len() > LARGEST_WORD {
            return Err(PartError::WordTooLong);
        }
        self.next = self.next.wrapping_add(1);
        self.held.extend_from_slice(&part.bytes);
        Ok(part.last.then(|| std::mem::take(&mut self.held)))
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { request, sequence, last, bytes } = self;
        write!(f, "Part({request:?}, {sequence}, {last}, {} bytes)", bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REQUEST: RequestId = RequestId::new([3; 16]);

    fn part(sequence: u32, last: bool, length: usize) -> Part {
        Part { request: REQUEST, sequence, last, bytes: vec![0; length] }
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(lengths in prop::collection::vec(0..3 * LARGEST_PART, 1..6)) {
            let (mut cutter, mut joiner) = (Cutter::new(REQUEST), Joiner::default());
            for (index, length) in lengths.into_iter().enumerate() {
                let word: Vec<u8> = (0..length).map(|at| (at + index) as u8).collect();
                let parts: Vec<Part> = cutter.cut(&word).expect("fits").collect();
                let (last, before) = parts.split_last().expect("at least one");
                for part in before {
                    prop_assert_eq!(joiner.take(part.clone()), Ok(None));
                }
                prop_assert_eq!(joiner.take(last.clone()), Ok(Some(word)));
            }
        }
    }

    #[test]
    fn a_part_too_many_too_few_or_twice_is_noticed() {
        let mut joiner = Joiner::default();
        assert_eq!(joiner.take(part(1, false, 1)), Err(PartError::Sequence { expected: 0, got: 1 }));
        assert_eq!(joiner.take(part(0, false, 1)), Ok(None));
        assert_eq!(joiner.take(part(0, false, 1)), Err(PartError::Sequence { expected: 1, got: 0 }));
        assert_eq!(joiner.take(part(1, true, 1)).map(|word| word.map(|word| word.len())), Ok(Some(2)));
    }

    #[test]
    fn what_is_too_long_is_neither_cut_nor_joined() {
        let mut joiner = Joiner::default();
        assert_eq!(joiner.take(part(0, false, LARGEST_PART + 1)), Err(PartError::PartTooLong(LARGEST_PART + 1)));
        let most = LARGEST_WORD / LARGEST_PART;
        for sequence in 0..most {
            assert_eq!(joiner.take(part(sequence as u32, false, LARGEST_PART)), Ok(None));
        }
        assert_eq!(joiner.take(part(most as u32, false, LARGEST_PART)), Err(PartError::WordTooLong));
        assert!(Cutter::new(REQUEST).cut(&vec![0; LARGEST_WORD + 1]).is_none());
    }

    #[test]
    fn a_part_fits_into_a_message_of_the_connection() {
        let tell = crate::ToGateway::Tell(part(u32::MAX, true, LARGEST_PART));
        assert!(tell.encode().is_ok());
    }
}
