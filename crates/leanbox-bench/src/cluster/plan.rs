//! What runs where, as plain values.

use leanbox::{Error, Result};
use std::fmt;
use std::time::Duration;

/// How long a connection may take where nothing else is said.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A file, read and checked.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// One for each command that runs.
    pub tasks: Vec<Task>,
    /// Files to be copied before anything runs.
    pub copies: Vec<Copy>,
    /// What was odd in the file, a line each.
    pub warnings: Vec<String>,
    /// The command to connect with, in place of `ssh`.
    pub ssh: Option<String>,
    /// How long a connection may take.
    pub connect_timeout: Option<Duration>,
}

/// One command on one host.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Stands before its lines, as `@label`.
    pub label: String,
    /// Where it runs; nowhere else than here if there is none.
    pub target: Option<Target>,
    /// The folder to be in.
    pub folder: String,
    /// Words for a shell.
    pub command: String,
    /// Whether the shell is the user's own (the original's files), else `/bin/sh`.
    pub login_shell: bool,
    /// The program in the command that may have a start barrier.
    pub program: Option<String>,
    /// Print no lines of it.
    pub quiet: bool,
    /// What it takes to get in.
    pub secrets: Secrets,
}

/// A host to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Its name or address, or what `ssh_config` calls it.
    pub host: String,
    /// Whom to be there.
    pub user: Option<String>,
    /// Its port.
    pub port: Option<u16>,
}

/// Files to be copied, as scp(1) does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// A path here, or `HOST:PATH`.
    pub source: String,
    /// Likewise.
    pub targets: Vec<String>,
}

/// Never printed.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Secrets {
    /// Of the account, and for `sudo`.
    pub password: Option<String>,
    /// Of the private key.
    pub passphrase: Option<String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secrets")
    }
}

impl Target {
    /// Reads `[USER@]HOST[:PORT]`; an IPv6 address with a port stands in brackets.
    ///
    /// # Errors
    /// It cannot be a host, a user or a port.
    pub fn parse(text: &str) -> Result<Self> {
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, text),
        };
        let (host, port) = split_port(rest);
        let port = port.map(self::port).transpose()?;
        word("host", host)?;
        user.map(|user| word("user", user)).transpose()?;
        Ok(Self { host: host.into(), user: user.map(Into::into), port })
    }

    /// Without the user.
    #[must_use]
    pub fn label(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (text, None),
    }
}

fn port(text: &str) -> Result<u16> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| Error::invalid(format!("{text:?} is not a port; 1 to 65535")))
}

/// What ssh takes as one word and not for an option.
pub(crate) fn word(what: &str, text: &str) -> Result<()> {
    let fits = !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_alphanumeric() || "._-:%+\\".contains(c));
    if fits { Ok(()) } else { Err(Error::invalid(format!("{text:?} is not a {what}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, Option<String>, Option<u16>) {
        let target = Target::parse(text).unwrap();
        (target.host, target.user, target.port)
    }

    #[test]
    fn a_host_may_have_a_user_and_a_port() {
        assert_eq!(parsed("val01"), ("val01".into(), None, None));
        assert_eq!(parsed("me@b:2222"), ("b".into(), Some("me".into()), Some(2222)));
        assert_eq!(parsed("[fe80::1%eth0]:22"), ("fe80::1%eth0".into(), None, Some(22)));
        assert_eq!(parsed("::1"), ("::1".into(), None, None));
    }

    #[test]
    fn what_ssh_would_take_for_an_option_is_no_host() {
        for text in ["", "-oProxyCommand=x", "a b", "-l@h", "h:0", "h:x", "a;b", "@h"] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }
}
