//! A table of a TOML file, with the line of whatever is wrong in it.

use super::plan;
use leanbox::{Error, Result};
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where a table was read from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl<'a> Source<'a> {
    /// Reads the whole file.
    pub(super) fn parse(self) -> Result<Table<'a>> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let words = error.message().lines().map(str::trim).collect::<Vec<_>>().join(", ");
            self.wrong(&error.span().unwrap_or(0..0), words)
        })?;
        let span = table.span();
        Ok(Table { source: self, span, entries: table.into_inner() })
    }

    /// `FILE:LINE: words`.
    pub(super) fn line(self, span: &Range<usize>, words: impl std::fmt::Display) -> String {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        format!("{}:{line}: {words}", self.path.display())
    }

    /// The same as an error.
    pub(super) fn wrong(self, span: &Range<usize>, words: impl std::fmt::Display) -> Error {
        Error::invalid(self.line(span, words))
    }
}

/// A table.
#[derive(Debug, Clone)]
pub(super) struct Table<'a> {
    source: Source<'a>,
    span: Range<usize>,
    entries: DeTable<'a>,
}

impl<'a> Table<'a> {
    /// An error at the place where the table begins.
    pub(super) fn wrong(&self, words: impl std::fmt::Display) -> Error {
        self.source.wrong(&self.span, words)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// A line for each key that is none of these.
    pub(super) fn unknown(&self, known: &[&str]) -> Vec<String> {
        let keys = self.entries.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        keys.map(|key| {
            let words = format!("unknown key {:?}; known are {}", key.get_ref(), known.join(", "));
            self.source.line(&key.span(), words)
        })
        .collect()
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>> {
        self.get(key, "a text in quotes", |value| value.as_str().map(Into::into))
    }

    /// A text that must be there.
    pub(super) fn needed(&self, key: &str, block: &str) -> Result<String> {
        self.text(key)?.ok_or_else(|| self.wrong(format!("this {block} has no {key}")))
    }

    /// A text that ssh takes as one word.
    pub(super) fn word(&self, key: &str) -> Result<Option<String>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        plan::word(key, &text).map_err(|error| self.at(key, error))?;
        Ok(Some(text))
    }

    /// One of these.
    pub(super) fn one_of(&self, key: &str, known: &[&str]) -> Result<Option<String>> {
        let wanted = format!("one of {}", known.join(", "));
        self.get(key, &wanted, |value| {
            value.as_str().filter(|text| known.contains(text)).map(Into::into)
        })
    }

    /// Some texts.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.get(key, "a list of texts in quotes", |value| {
            let items = value.as_array()?.iter();
            items.map(|item| item.get_ref().as_str().map(Into::into)).collect()
        })
    }

    /// A whole number.
    pub(super) fn number(&self, key: &str, range: Range<u32>) -> Result<Option<u32>> {
        let wanted = format!("a whole number from {} to {}", range.start, range.end - 1);
        self.get(key, &wanted, |value| integer(value).filter(|number| range.contains(number)))
    }

    /// A whole number or some.
    pub(super) fn numbers(&self, key: &str, range: Range<u32>) -> Result<Option<Vec<u32>>> {
        let wanted = format!("whole numbers from {} to {}", range.start, range.end - 1);
        let fits = |value: &DeValue<'_>| integer(value).filter(|number| range.contains(number));
        self.get(key, &wanted, |value| match value.as_array() {
            Some(items) if !items.is_empty() => {
                items.iter().map(|item| fits(item.get_ref())).collect()
            }
            Some(_) => None,
            None => fits(value).map(|number| vec![number]),
        })
    }

    /// Seconds above 0, at most a day.
    pub(super) fn seconds(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, "seconds above 0, at most 86400", |value| {
            let text = value.as_integer().map(|number| number.as_str());
            let text = text.or_else(|| value.as_float().map(|number| number.as_str()))?;
            text.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 86_400.0)
        })
    }

    /// `"yes"`, `"no"`, true or false.
    pub(super) fn yes(&self, key: &str) -> Result<bool> {
        let read = |value: &DeValue<'_>| match (value.as_bool(), value.as_str()) {
            (Some(yes), _) => Some(yes),
            (None, Some("yes")) => Some(true),
            (None, Some("no")) => Some(false),
            _ => None,
        };
        Ok(self.get(key, "\"yes\" or \"no\"", read)?.unwrap_or(false))
    }

    /// The `[[key]]` blocks.
    pub(super) fn blocks(&self, key: &str) -> Result<Vec<Table<'a>>> {
        let wanted = format!("blocks that begin with [[{key}]]");
        let blocks = self.get(key, &wanted, |value| {
            let block = |item: &Spanned<DeValue<'a>>| match item.get_ref() {
                DeValue::Table(entries) => {
                    Some(Table { source: self.source, span: item.span(), entries: entries.clone() })
                }
                _ => None,
            };
            value.as_array()?.iter().map(block).collect()
        })?;
        Ok(blocks.unwrap_or_default())
    }

    /// The error, with the line of that key.
    pub(super) fn at(&self, key: &str, error: impl std::fmt::Display) -> Error {
        let span = self.entries.get(key).map_or_else(|| self.span.clone(), Spanned::span);
        self.source.wrong(&span, error)
    }

    fn get<T>(
        &self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&DeValue<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.entries.get(key) else { return Ok(None) };
        match read(value.get_ref()) {
            Some(read) => Ok(Some(read)),
            None => Err(self.source.wrong(&value.span(), format!("{key} must be {wanted}"))),
        }
    }
}

fn integer(value: &DeValue<'_>) -> Option<u32> {
    let number = value.as_integer()?;
    u32::from_str_radix(number.as_str(), number.radix()).ok()
}
