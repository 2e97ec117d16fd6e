//! Resource limits of processes, as setrlimit(2) and Docker's `--ulimit` know them.

use crate::{Error, ErrorKind, Result};
use rustix::process::{Resource, getrlimit};
use std::fmt;
use std::str::FromStr;

/// RLIM_INFINITY.
const UNLIMITED: u64 = u64::MAX;
/// A start needs some descriptors: its streams, its mailbox, its socket, the template's.
const NOFILE_LEAST: u64 = 16;

/// Names as Docker's `--ulimit` has them (getrlimit(2)).
const NAMES: [(&str, Resource); 16] = [
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// The name of the kernel's number.
pub(crate) fn name_of(resource: u64) -> Option<&'static str> {
    let known = NAMES.iter().find(|(_, known)| *known as u64 == resource);
    known.map(|(name, _)| *name)
}

/// A limit of each process in the container (setrlimit(2)): `nofile=1024:2048`, soft and hard.
/// The program may change the soft one, and lower the hard one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    resource: Resource,
    /// In the unit of getrlimit(2); `u64::MAX`: unlimited.
    pub soft: u64,
    /// The most that the soft one can become.
    pub hard: u64,
}

impl Rlimit {
    /// Of the resource of this name: that of getrlimit(2) without `RLIMIT_`, in small letters.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if there is no such resource, or the soft
    /// limit is above the hard one.
    pub fn new(name: &str, soft: u64, hard: u64) -> Result<Self> {
        let known = NAMES.iter().find(|(known, _)| *known == name);
        let Some((_, resource)) = known else {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            return Err(Error::invalid(format!("{name:?} is not a resource of setrlimit(2)"))
                .remedy(format!("one of {}", names.join(", "))));
        };
        let rlimit = Self { resource: *resource, soft, hard };
        if soft > hard {
            return Err(Error::invalid(format!("{rlimit}: the soft limit is above the hard one")));
        }
        if *resource == Resource::Nofile && soft < NOFILE_LEAST {
            return Err(Error::invalid(format!(
                "{rlimit}: at least {NOFILE_LEAST} descriptors are needed to start a container"
            )));
        }
        Ok(rlimit)
    }

    /// The kernel's number of the resource.
    pub(crate) fn resource(&self) -> u32 {
        self.resource as u32
    }

    /// Checks that this process may give it: a slot's user namespace has no right to raise what
    /// it was given (CAP_SYS_RESOURCE counts in the first one only).
    pub(crate) fn check_ours(&self) -> Result<()> {
        let ours = getrlimit(self.resource).maximum.unwrap_or(UNLIMITED);
        if self.hard <= ours {
            return Ok(());
        }
        let text = format!(
            "ulimit {self}: this process may give {} at most, its own hard limit",
            Number(ours)
        );
        Err(Error::new(ErrorKind::PermissionDenied, text).remedy(
            "ask for less, or raise it before: prlimit --pid $$ …, or LimitXXX= of systemd",
        ))
    }
}

impl FromStr for Rlimit {
    type Err = Error;

    /// `NAME=SOFT[:HARD]`; without a hard one it is as the soft one. `-1` or `unlimited`: none.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput), also as for [`Rlimit::new`].
    fn from_str(text: &str) -> Result<Self> {
        let number = |text: &str| match text {
            "-1" | "unlimited" => Some(UNLIMITED),
            text => text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?,
        };
        let parsed = text.split_once('=').and_then(|(name, limits)| {
            let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
            Some((name, number(soft)?, number(hard)?))
        });
        let (name, soft, hard) = parsed.ok_or_else(|| {
            Error::invalid(format!("{text:?} is not a ulimit"))
                .remedy("write NAME=SOFT or NAME=SOFT:HARD, as in nofile=1024:2048")
        })?;
        Self::new(name, soft, hard)
    }
}

impl fmt::Display for Rlimit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, number)| *number == self.resource);
        let name = name.map_or("", |(name, _)| *name);
        write!(out, "{name}={}:{}", Number(self.soft), Number(self.hard))
    }
}

struct Number(u64);

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            UNLIMITED => out.write_str("unlimited"),
            number => number.fmt(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits_are_read_as_docker_spells_them() {
        let cases = [
            ("nofile=1024:2048", "nofile=1024:2048"),
            ("nproc=5", "nproc=5:5"),
            ("core=-1", "core=unlimited:unlimited"),
            ("stack=0:unlimited", "stack=0:unlimited"),
        ];
        for (text, written) in cases {
            assert_eq!(text.parse::<Rlimit>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_is_no_ulimit_is_refused_in_one_line() {
        let cases = [
            ("nofile", "\"nofile\" is not a ulimit; "),
            ("nofile=", "\"nofile=\" is not a ulimit; "),
            ("nofile=+5", "\"nofile=+5\" is not a ulimit; "),
            ("files=5", "\"files\" is not a resource of setrlimit(2); one of as, core, cpu"),
            ("nofile=20:19", "nofile=20:19: the soft limit is above the hard one"),
            ("nofile=3", "nofile=3:3: at least 16 descriptors are needed to start a container"),
        ];
        for (text, start) in cases {
            let line = text.parse::<Rlimit>().unwrap_err().to_string();
            assert!(line.starts_with(start), "{line}");
        }
    }

    #[test]
    fn more_than_this_process_has_is_refused_with_what_it_has() {
        let own = getrlimit(Resource::Nofile).maximum.unwrap_or(UNLIMITED - 1);
        Rlimit::new("nofile", 64, own).unwrap().check_ours().unwrap();
        let error = Rlimit::new("nofile", 64, own + 1).unwrap().check_ours().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().contains(&format!("may give {own} at most")), "{error}");
    }
}
