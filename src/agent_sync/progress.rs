//! Reads by agents come to an end: how long one may go on without telling anything.

/// Words in a row that tell nothing: an agent says so each half minute, so a read that tells nothing for half an hour is
/// given up, whatever lies between its words.
const MOST_IDLE: u32 = 60;
/// Pages in a row that tell no object, and only that the read has come further: a change log of others is long.
const MOST_BARE: u32 = 10_000;

/// A read tells nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it goes on and tells nothing")]
pub struct Endless;

/// How a read gets on.
#[derive(Debug, Default)]
pub struct Progress {
    idle: u32,
    bare: u32,
}

impl Progress {
    /// Something was told.
    pub fn told(&mut self) {
        *self = Self::default();
    }

    /// The read has come further, and met nothing.
    pub fn moved(&mut self) -> Result<(), Endless> {
        self.idle = 0;
        self.bare += 1;
        if self.bare < MOST_BARE { Ok(()) } else { Err(Endless) }
    }

    /// It goes on.
    pub fn nothing(&mut self) -> Result<(), Endless> {
        self.idle += 1;
        if self.idle < MOST_IDLE { Ok(()) } else { Err(Endless) }
    }
}
