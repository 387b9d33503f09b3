//! What somebody who mistyped a name may have meant.

/// The known name that is nearest to `name`, if one is near enough to have been meant: at most two letters apart, and no more than
/// half of them. Case does not count.
pub fn nearest<'k>(known: impl Iterator<Item = &'k str>, name: &str) -> Option<&'k str> {
    let (apart, near) = known.map(|known| (distance(known, name), known)).min_by_key(|(apart, _)| *apart)?;
    (apart <= 2 && apart * 2 <= name.len()).then_some(near)
}

/// Levenshtein's distance without regard to ASCII case, of short names; long ones are never near.
fn distance(a: &str, b: &str) -> usize {
    if b.len() > 40 {
        return usize::MAX;
    }
    let (a, b): (Vec<char>, Vec<char>) =
        (a.to_ascii_lowercase().chars().collect(), b.to_ascii_lowercase().chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_a_slip_away_are_near() {
        let near = |name| nearest(["cn", "employeeNumber", "mail"].into_iter(), name);
        assert_eq!(near("emplyeenumber"), Some("employeeNumber"));
        assert_eq!(near("mial"), Some("mail"));
        assert_eq!(near("MAIL"), Some("mail"));
        for far in ["xy", "", "mobile", "thisNameIsLongerThanAnyThatOneWouldHaveMeant"] {
            assert_eq!(near(far), None, "{far}");
        }
    }
}
