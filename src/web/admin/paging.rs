//! Lists that are answered in pages.

/// Things in one answer, unless the request says less.
const MOST: u32 = 1000;

/// How many things one answer holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageSize(u32);

impl PageSize {
    pub fn asked(limit: Option<u32>) -> Self {
        Self(limit.unwrap_or(MOST).clamp(1, MOST))
    }

    /// As many as are read: by one more it is told whether there is another page.
    pub fn to_read(self) -> u32 {
        self.0 + 1
    }

    /// What was read, as a page, and the position of its last thing if there is another page.
    pub fn cut<T, P>(self, mut read: Vec<T>, position: impl FnOnce(&T) -> P) -> (Vec<T>, Option<P>) {
        let kept = usize::try_from(self.0).unwrap_or(usize::MAX);
        let more = read.len() > kept;
        read.truncate(kept);
        let next = read.last().filter(|_| more).map(position);
        (read, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_where_the_next_begins_if_there_is_one() {
        let size = PageSize::asked(Some(2));
        assert_eq!(size.to_read(), 3);
        assert_eq!(size.cut(vec![1, 2, 3], |last| last * 10), (vec![1, 2], Some(20)));
        assert_eq!(size.cut(vec![1, 2], |last| last * 10), (vec![1, 2], None));
        assert_eq!(size.cut(Vec::<i32>::new(), |last| last * 10), (Vec::new(), None));
        assert_eq!(PageSize::asked(Some(0)).to_read(), 2);
        assert_eq!(PageSize::asked(Some(u32::MAX)).to_read(), MOST + 1);
    }
}
