//! Lists of CPUs and memory nodes as the kernel writes them (cpuset(7), "List format").

use crate::{Error, Result};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Beyond the CPUs and nodes of every machine (the kernel's `NR_CPUS` is 8,192 at most).
const ID_MOST: u32 = 65_535;

/// CPUs, or NUMA memory nodes, by their numbers: `0-3,7` (cpuset(7), "List format").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdList(BTreeSet<u32>);

impl IdList {
    /// The numbers, in order.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// The numbers that `allowed` does not have.
    pub(crate) fn without(&self, allowed: &Self) -> Option<Self> {
        let rest: BTreeSet<u32> = self.0.difference(&allowed.0).copied().collect();
        (!rest.is_empty()).then_some(Self(rest))
    }
}

impl FromStr for IdList {
    type Err = Error;

    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if it is not such a list, or empty.
    fn from_str(text: &str) -> Result<Self> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|id| *id <= ID_MOST);
        let range = |part: &str| match part.split_once('-') {
            None => number(part).map(|id| id..=id),
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(first..=last)
            }
        };
        let ranges: Option<Vec<_>> = text.trim().split(',').map(range).collect();
        ranges.map(|ranges| Self(ranges.into_iter().flatten().collect())).ok_or_else(|| {
            Error::invalid(format!("{text:?} is not a list of numbers"))
                .remedy("write numbers and ranges with commas between them, as in 0-3,7")
        })
    }
}

impl fmt::Display for IdList {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ids = self.0.iter().copied().peekable();
        let mut comma = "";
        while let Some(first) = ids.next() {
            let mut last = first;
            while let Some(next) = ids.next_if_eq(&(last + 1)) {
                last = next;
            }
            match last == first {
                true => write!(out, "{comma}{first}")?,
                false => write!(out, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_written_as_the_kernel_does() {
        let cases = [
            ("0", "0"),
            ("0-3,7", "0-3,7"),
            ("7,0,1", "0-1,7"),
            ("2-2", "2"),
            ("1,2,2-4\n", "1-4"),
        ];
        for (text, written) in cases {
            assert_eq!(text.parse::<IdList>().unwrap().to_string(), written, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused_in_one_line() {
        for text in ["", ",", "1,", "-1", "3-1", "a", "1-", "0-4294967295", "0x1", "1 2"] {
            let line = text.parse::<IdList>().unwrap_err().to_string();
            assert!(line.starts_with(&format!("{text:?} is not a list of numbers; ")), "{line}");
        }
    }

    #[test]
    fn what_is_not_allowed_is_told() {
        let list = |text: &str| text.parse::<IdList>().unwrap();
        assert_eq!(list("0-3").without(&list("0-1")).unwrap().to_string(), "2-3");
        assert!(list("0").without(&list("0-1")).is_none());
    }
}
