//! Multi-row statements of a few fixed sizes, so that prepared statements are reused (design D16).

use std::fmt::Write as _;

/// Rows per statement, largest first. A remainder is cut into the next smaller sizes. A connection keeps statements
/// prepared, and a prepared statement is as large as its rows.
const SIZES: [usize; 4] = [100, 20, 4, 1];

/// Cuts `rows` rows into chunk lengths of the fixed sizes.
pub fn chunk_sizes(rows: usize) -> impl Iterator<Item = usize> {
    let mut left = rows;
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= left)?;
        left -= size;
        Some(size)
    })
}

/// `($1,$2),($3,$4)` for `rows` rows of `columns` columns, numbered from `first`.
pub fn values_clause(rows: usize, columns: usize, first: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ",(" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { "," };
            // Writing to a String cannot fail.
            let _ = write!(text, "{comma}${}", first + row * columns + column);
        }
        text.push(')');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_into_the_fixed_sizes() {
        assert_eq!(chunk_sizes(0).count(), 0);
        assert_eq!(chunk_sizes(226).collect::<Vec<_>>(), [100, 100, 20, 4, 1, 1]);
    }

    #[test]
    fn placeholders_are_numbered_through() {
        assert_eq!(values_clause(2, 3, 1), "($1,$2,$3),($4,$5,$6)");
        assert_eq!(values_clause(1, 1, 4), "($4)");
    }
}
