//! Text of others, fit for logs, lists and consoles.

/// At most `most` characters of `text`, in which nothing moves a cursor, begins a line or turns the direction of writing.
pub fn shown(text: &str, most: usize) -> String {
    text.chars().map(|c| if is_unfit(c) { ' ' } else { c }).take(most).collect()
}

fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn nothing_moves_the_cursor_and_nothing_is_longer_than_it_may_be() {
        assert_eq!(shown("gone\u{1b}[2J\r\nok\u{202e}ko", 500), "gone [2J  ok ko");
        assert_eq!(shown("straße", 500), "straße");
        assert_eq!(shown(&"ä".repeat(600), 500), "ä".repeat(500));
    }
}
