//! HTML that grows: what is ours goes in as it is, what others wrote is escaped.

use crate::page::text::plain;

/// A text of HTML. `raw` takes only what stands in our sources, so that nothing of a report gets
/// in without `text`.
#[derive(Debug, Default)]
pub(crate) struct Html(String);

impl Html {
    /// Markup of ours.
    pub(crate) fn raw(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Markup that this crate or the drawing library made.
    pub(crate) fn own(&mut self, markup: &str) {
        self.0.push_str(markup);
    }

    /// A number.
    pub(crate) fn number(&mut self, number: usize) {
        self.0.push_str(&number.to_string());
    }

    /// Text of anybody, in an element or in a quoted attribute.
    pub(crate) fn text(&mut self, text: &str) {
        for c in plain(text).chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// Text as it may stand in HTML and SVG.
pub(crate) fn escaped(text: &str) -> String {
    let mut html = Html::default();
    html.text(text);
    html.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_never_markup() {
        assert_eq!(
            escaped("<script>\"a\" & 'b'</script>"),
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;"
        );
        assert_eq!(escaped("a\u{0}b\u{202e}c\n"), "a\u{fffd}b\u{fffd}c ");
    }
}
