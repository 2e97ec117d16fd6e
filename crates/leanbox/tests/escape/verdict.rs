//! What came of an attack. Only the refusals that a case expects count as blocked: any other
//! errno says that the call got past the check of who may.

use crate::call::Tried;
use leanbox_sys::Errno;
use std::ffi::CString;
use std::fmt;

/// What came of an attack, with what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Blocked(String),
    Open(String),
}

pub(crate) use Verdict::{Blocked, Open};

impl Verdict {
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Open(_))
    }

    /// Out of the line that [`fmt::Display`] makes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (word, detail) = text.split_once(": ")?;
        let detail = detail.trim_end().to_string();
        match word {
            "blocked" => Some(Blocked(detail)),
            "open" => Some(Open(detail)),
            _ => None,
        }
    }

    /// Says of what it is the verdict.
    pub(crate) fn of(self, what: &str) -> Self {
        match self {
            Blocked(detail) => Blocked(format!("{what} {detail}")),
            Open(detail) => Open(format!("{what} {detail}")),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, detail) = match self {
            Blocked(detail) => ("blocked", detail),
            Open(detail) => ("open", detail),
        };
        write!(out, "{word}: {}", detail.replace(['\n', '|'], " "))
    }
}

/// Refusals of whoever may not: capabilities(7), seccomp(2).
pub(crate) const REFUSALS: &[&str] = &["EPERM", "EACCES", "ENOSYS"];
/// Of files that are not there or not to be had.
pub(crate) const NO_FILE: &[&str] =
    &["EPERM", "EACCES", "ENOENT", "ENOTDIR", "EROFS", "ENXIO", "ENODEV", "ELOOP"];

/// Whether a call was refused.
pub(crate) fn refused(tried: Tried) -> Verdict {
    refused_with(tried, REFUSALS)
}

/// Whether a call was refused with one of these.
pub(crate) fn refused_with(tried: Tried, refusals: &[&str]) -> Verdict {
    match tried {
        Ok(_) => Open("allowed".into()),
        Err(errno) if refusals.contains(&&*name(errno)) => Blocked(name(errno)),
        Err(errno) => Open(format!("past the check: {}", name(errno))),
    }
}

/// Open if one is, blocked with what all say otherwise.
pub(crate) fn all(parts: impl IntoIterator<Item = Verdict>) -> Verdict {
    let (mut blocked, mut open) = (Vec::<String>::new(), Vec::<String>::new());
    for part in parts {
        match part {
            Open(detail) => push(&mut open, detail),
            Blocked(detail) => push(&mut blocked, detail),
        }
    }
    let text = |list: Vec<String>| {
        let more = list.len().saturating_sub(4);
        let shown = list.into_iter().take(4).collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    };
    if open.is_empty() { Blocked(text(blocked)) } else { Open(text(open)) }
}

fn push(list: &mut Vec<String>, detail: String) {
    if !list.contains(&detail) {
        list.push(detail);
    }
}

/// Opens a file and closes it again: what may be opened may be read or written.
pub(crate) fn opens(path: &str, flags: i32) -> Verdict {
    let to = if flags & leanbox_sys::fd::O_WRONLY != 0 { "for writing" } else { "for reading" };
    let opened = CString::new(path).map(|path| leanbox_sys::fd::open(&path, flags));
    match opened.unwrap_or(Err(Errno::INVAL)) {
        Ok(fd) => {
            leanbox_sys::fd::close(fd);
            Open(format!("{path} opens {to}"))
        }
        Err(errno) => refused_with(Err(errno), NO_FILE),
    }
}

/// The name of an errno (errno(3)).
pub(crate) fn name(errno: Errno) -> String {
    let known = NAMES.iter().find(|(number, _)| *number == errno.0);
    known.map_or_else(|| format!("errno {}", errno.0), |(_, name)| (*name).to_string())
}

const NAMES: &[(i32, &str)] = &[
    (1, "EPERM"),
    (2, "ENOENT"),
    (3, "ESRCH"),
    (6, "ENXIO"),
    (7, "E2BIG"),
    (9, "EBADF"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (15, "ENOTBLK"),
    (16, "EBUSY"),
    (17, "EEXIST"),
    (18, "EXDEV"),
    (19, "ENODEV"),
    (20, "ENOTDIR"),
    (22, "EINVAL"),
    (24, "EMFILE"),
    (25, "ENOTTY"),
    (26, "ETXTBSY"),
    (28, "ENOSPC"),
    (30, "EROFS"),
    (38, "ENOSYS"),
    (40, "ELOOP"),
    (93, "EPROTONOSUPPORT"),
    (94, "ESOCKTNOSUPPORT"),
    (95, "EOPNOTSUPP"),
    (97, "EAFNOSUPPORT"),
    (101, "ENETUNREACH"),
    (111, "ECONNREFUSED"),
    (126, "ENOKEY"),
];
