//! Texts that others wrote: without what moves a terminal's cursor, is no character of HTML or
//! SVG, or turns the direction of writing of what stands beside it.

/// The text with a mark for each such character.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(plain_char).collect()
}

fn plain_char(c: char) -> char {
    match c {
        '\n' | '\t' => ' ',
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plain_character_is_marked() {
        assert_eq!(plain("a\u{0}b\u{202e}c\u{1b}[0m\n"), "a\u{fffd}b\u{fffd}c\u{fffd}[0m ");
        assert_eq!(plain("µs – “übung”"), "µs – “übung”");
    }
}
