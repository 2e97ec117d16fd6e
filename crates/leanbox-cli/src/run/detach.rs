//! `leanbox run --detach`: the container's host is a process of its own, this command once more in
//! the background; this one waits until the program runs, or hears why not.

use super::Args;
use crate::named::{self, supervisor};
use crate::outcome::Failure;
use crate::{say, tell};
use leanbox::{Error, ErrorKind, Result};
use std::io::Read;
use std::process::{Command, ExitCode, Stdio};

/// Set in the environment of the host of a detached container.
const HOST: &str = "LEANBOX_DETACHED_HOST";

/// Options of a container that goes on without its command.
#[derive(Debug, clap::Args)]
pub(crate) struct Detach {
    /// Run it in the background and print its name
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) detach: bool,
    /// Its name, for ps, logs, exec, stop, rm … [default: a new one]
    #[arg(long, value_name = "NAME", requires = "detach", value_parser = named::name)]
    pub(crate) name: Option<String>,
    /// Leave nothing of it when it has ended
    #[arg(long, requires = "detach")]
    pub(crate) rm: bool,
}

/// Begins it, as its host or for it.
pub(crate) fn run(args: &Args) -> ExitCode {
    if std::env::var_os(HOST).is_some() {
        return supervisor::supervise(args);
    }
    let begun = match args.terminal.tty {
        true => Err(Error::invalid("a detached container has no terminal")
            .remedy("leave out -t; leanbox exec runs a program in it")
            .into()),
        false => begin(),
    };
    match begun {
        Ok(name) => {
            say(&name);
            ExitCode::SUCCESS
        }
        Err(Failure { error, code }) => {
            tell(&format!("leanbox: {error}"));
            ExitCode::from(code)
        }
    }
}

/// Its name, once its program runs.
fn begin() -> Result<String, Failure> {
    let wrap = |error: std::io::Error| Error::io("a host for the container", &error);
    let mut host = Command::new("/proc/self/exe");
    host.args(std::env::args_os().skip(1)).env(HOST, "1");
    let streams = host.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut host = streams.spawn().map_err(wrap)?;
    let mut text = String::new();
    if let Some(out) = host.stdout.take() {
        // One line, or nothing of a host that was killed.
        out.take(1 << 16).read_to_string(&mut text).map_err(wrap)?;
    }
    match text.trim_end().split_once(' ') {
        Some(("0", name)) => Ok(name.to_string()),
        Some((code, words)) => {
            let _ = host.wait();
            let error = Error::new(ErrorKind::System, words);
            Err(Failure { error, code: code.parse().unwrap_or(crate::outcome::FAILED) })
        }
        None => {
            let _ = host.wait();
            Err(Error::new(ErrorKind::Gone, "the container's host was killed as it began").into())
        }
    }
}
