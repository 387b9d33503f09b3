//! Characters that show nothing, or nothing but space: with them one name looks like another.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// An empty pattern of dots, which no property of Unicode tells from a picture.
const BRAILLE_BLANK: char = '\u{2800}';

/// The first character of `text` that cannot be seen, or that looks like a blank without being the usual one.
pub fn unseen(text: &str) -> Option<char> {
    text.chars().find(|c| !c.is_ascii() && is_unseen(*c))
}

fn is_unseen(c: char) -> bool {
    c.is_whitespace()
        || c == BRAILLE_BLANK
        || CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::Format
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

#[cfg(test)]
mod tests {
    use super::unseen;

    #[test]
    fn what_shows_nothing_is_found_and_what_shows_something_is_not() {
        // Spaces, marks of direction, joiners, fillers, the soft hyphen, a variation selector, a tag.
        let hidden = "\u{a0}\u{2003}\u{3000}\u{200e}\u{202e}\u{2066}\u{200b}\u{200d}\u{2060}\u{feff}\u{115f}\u{3164}\u{ffa0}\u{ad}\u{fe0f}\u{e0041}\u{2800}\u{34f}\u{180e}";
        for c in hidden.chars() {
            assert_eq!(unseen(&format!("a{c}b")), Some(c), "{:04X}", u32::from(c));
        }
        assert_eq!(unseen("Ada Byron zoe\u{308} stra\u{df}e \u{65e5}\u{672c} \u{627}\u{644} ~!#"), None);
    }
}
