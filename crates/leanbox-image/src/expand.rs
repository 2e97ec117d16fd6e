//! `$NAME`, `${NAME}`, `${NAME:-word}` and `${NAME:+word}` in instructions, and the words of ENV,
//! as the Dockerfile reference has them. An unset variable is empty.

/// Expands `text` with the variables set so far; a backslash keeps a dollar.
pub(crate) fn expand(text: &str, env: &[(String, String)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['$', '\\']) {
        out.push_str(&rest[..at]);
        let tail = &rest[at..];
        rest = if let Some(kept) = tail.strip_prefix("\\$") {
            out.push('$');
            kept
        } else if let Some(after) = tail.strip_prefix('\\') {
            out.push('\\');
            after
        } else {
            variable(&tail[1..], env, &mut out)
        };
    }
    out.push_str(rest);
    out
}

/// What follows a dollar; returns what follows the variable.
fn variable<'a>(text: &'a str, env: &[(String, String)], out: &mut String) -> &'a str {
    let value = |name: &str| {
        let found = env.iter().rev().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    if let Some((inside, rest)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        let expanded = if let Some((name, word)) = inside.split_once(":-") {
            if value(name).is_empty() { word } else { value(name) }
        } else if let Some((name, word)) = inside.split_once(":+") {
            if value(name).is_empty() { "" } else { word }
        } else {
            value(inside)
        };
        out.push_str(expanded);
        return rest;
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    if end == 0 {
        out.push('$');
    }
    out.push_str(value(&text[..end]));
    &text[end..]
}

/// The pairs of an ENV instruction: `KEY=value KEY="two words"`, or the old `KEY value`.
pub(crate) fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let first = words(text).into_iter().next()?;
    if !first.contains('=') {
        let (key, value) = text.trim().split_once(char::is_whitespace)?;
        return Some(vec![(key.to_string(), value.trim().to_string())]);
    }
    let split = |word: String| {
        let (key, value) = word.split_once('=')?;
        (!key.is_empty()).then(|| (key.to_string(), value.to_string()))
    };
    words(text).into_iter().map(split).collect()
}

/// Words apart, quotes taken off, escaped blanks kept.
fn words(text: &str) -> Vec<String> {
    let (mut all, mut word, mut quote, mut any) = (Vec::new(), String::new(), None, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => match chars.next() {
                // Left for `expand`.
                Some('$') => word.push_str("\\$"),
                Some('\n') | None => {}
                Some(next) => word.push(next),
            },
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => (quote, any) = (Some(c), true),
            (c, None) if c.is_whitespace() => {
                if any || !word.is_empty() {
                    all.push(std::mem::take(&mut word));
                }
                any = false;
            }
            (c, _) => word.push(c),
        }
    }
    if any || !word.is_empty() {
        all.push(word);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Vec<(String, String)> {
        vec![("A".into(), "1".into()), ("LONG_NAME".into(), "two".into())]
    }

    #[test]
    fn variables_expand_and_unset_ones_are_empty() {
        assert_eq!(expand("$A/${LONG_NAME}x$B.", &env()), "1/twox.");
        assert_eq!(expand("${B:-d}${A:-d}${A:+p}${B:+p}", &env()), "d1p");
        assert_eq!(expand("\\$A $ \\n", &env()), "$A $ \\n");
    }

    #[test]
    fn env_takes_pairs_quotes_and_the_old_form() {
        let pair = |key: &str, value: &str| (key.to_string(), value.to_string());
        assert_eq!(
            pairs("A=1 B=\"two words\" C=x\\ y"),
            Some(vec![pair("A", "1"), pair("B", "two words"), pair("C", "x y")])
        );
        assert_eq!(pairs("A some words"), Some(vec![pair("A", "some words")]));
        assert_eq!(pairs("A=1 nonsense"), None);
    }
}
