//! Multi-row statements of a few fixed sizes, so that prepared statements are reused (design D16).

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
            text.push_str(if column == 0 { "$" } else { ",$" });
            push_number(&mut text, first + row * columns + column);
        }
        text.push(')');
    }
    text
}

/// `$4,$5` for `count` values, numbered from `first`.
pub fn list_clause(count: usize, first: usize) -> String {
    let mut text = String::with_capacity(count * 5);
    for place in 0..count {
        text.push_str(if place == 0 { "$" } else { ",$" });
        push_number(&mut text, first + place);
    }
    text
}

/// A statement has hundreds of these: the formatter would take longer than the database takes for the row.
fn push_number(text: &mut String, number: usize) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
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
        assert_eq!(list_clause(3, 9), "$9,$10,$11");
        assert_eq!(list_clause(1, 1_230), "$1230");
    }
}
