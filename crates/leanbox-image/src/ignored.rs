//! Which names a pattern means: the wildcards of COPY, and `.dockerignore`.

use crate::files::at;
use leanbox::Result;
use std::path::Path;

/// `.dockerignore`: the last pattern that matches wins, `!` takes back.
pub(crate) struct Ignored(Vec<(bool, Vec<String>)>);

impl Ignored {
    pub(crate) fn read(app: &Path) -> Result<Self> {
        let path = app.join(".dockerignore");
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.map_err(at(&path))?,
        };
        let lines =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let patterns = lines.map(|line| {
            let (except, line) = line.strip_prefix('!').map_or((false, line), |line| (true, line));
            let parts = line.split('/').filter(|part| !part.is_empty() && *part != ".");
            (except, parts.map(String::from).collect())
        });
        Ok(Self(patterns.collect()))
    }

    pub(crate) fn matches(&self, path: &Path) -> bool {
        let parts: Vec<String> =
            path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        let hit = |pattern: &[String]| {
            (1..=parts.len()).any(|count| parts_match(pattern, &parts[..count]))
        };
        self.0.iter().rfind(|(_, pattern)| hit(pattern)).is_some_and(|(except, _)| !except)
    }
}

fn parts_match(pattern: &[String], parts: &[String]) -> bool {
    match (pattern.first(), parts.first()) {
        (None, None) => true,
        (Some(any), _) if any == "**" => {
            parts_match(&pattern[1..], parts)
                || (!parts.is_empty() && parts_match(pattern, &parts[1..]))
        }
        (Some(p), Some(c)) => {
            glob(p.as_bytes(), c.as_bytes()) && parts_match(&pattern[1..], &parts[1..])
        }
        _ => false,
    }
}

/// `*`, `?` and `[a-z]`, as in Go's filepath.Match.
pub(crate) fn glob(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            glob(&pattern[1..], name) || (!name.is_empty() && glob(pattern, &name[1..]))
        }
        (Some(b'?'), Some(_)) => glob(&pattern[1..], &name[1..]),
        (Some(b'['), Some(c)) => match pattern.iter().position(|b| *b == b']') {
            Some(end) => class(&pattern[1..end], *c) && glob(&pattern[end + 1..], &name[1..]),
            None => false,
        },
        (Some(p), Some(c)) if p == c => glob(&pattern[1..], &name[1..]),
        _ => false,
    }
}

fn class(set: &[u8], c: u8) -> bool {
    let (negated, set) = set.strip_prefix(b"^").map_or((false, set), |set| (true, set));
    let mut hit = false;
    let mut at = 0;
    while at < set.len() {
        if set.get(at + 1) == Some(&b'-') && at + 2 < set.len() {
            hit |= (set[at]..=set[at + 2]).contains(&c);
            at += 3;
        } else {
            hit |= set[at] == c;
            at += 1;
        }
    }
    hit != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_within_a_name() {
        for (pattern, name, hit) in [
            ("*.py", "a.py", true),
            ("*.py", "a.pyc", false),
            ("?.t[x-z]t", "a.txt", true),
            ("[^a]*", "abc", false),
            ("*", ".hidden", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), hit, "{pattern} {name}");
        }
    }

    #[test]
    fn the_last_matching_ignore_pattern_wins() {
        let parts = |text: &str| text.split('/').map(String::from).collect();
        let ignored = Ignored(vec![
            (false, parts("*.log")),
            (true, parts("keep.log")),
            (false, parts("**/x")),
        ]);
        assert!(ignored.matches(Path::new("a.log")));
        assert!(!ignored.matches(Path::new("keep.log")));
        assert!(ignored.matches(Path::new("a/b/x/c")));
        assert!(!ignored.matches(Path::new("a/b")));
    }
}
