//! The verbs for detached containers: each looks into the folder of one, or asks its host.

use super::logs::{Piece, Reader};
use super::protocol::{Request, asked};
use super::{Named, State};
use crate::{say, values};
use leanbox::{Error, ErrorKind, Result};
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// How long a killed container may take to be gone.
const KILLED: Duration = Duration::from_secs(15);
/// Between two looks at a log that grows.
const FOLLOW: Duration = Duration::from_millis(50);

/// Arguments of `leanbox ps`.
#[derive(Debug, clap::Args)]
pub(crate) struct PsArgs {
    /// Those that have ended, too
    #[arg(long, short)]
    all: bool,
    /// One line of JSON for each
    #[arg(long)]
    json: bool,
}

/// Arguments of a verb with names alone.
#[derive(Debug, clap::Args)]
pub(crate) struct NamesArgs {
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// Arguments of `leanbox logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    /// Go on until it has ended
    #[arg(long, short)]
    follow: bool,
    /// Only so many lines from the end of what is kept
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    /// Seconds since 1970 before each piece of output
    #[arg(long, short)]
    timestamps: bool,
    #[arg(value_name = "NAME")]
    name: String,
}

/// Arguments of `leanbox kill`.
#[derive(Debug, clap::Args)]
pub(crate) struct KillArgs {
    /// Another signal, as in TERM, SIGHUP, 10, for its program
    #[arg(long, short, value_name = "SIGNAL", default_value = "KILL", value_parser = values::signal)]
    signal: i32,
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// Arguments of `leanbox stop`.
#[derive(Debug, clap::Args)]
pub(crate) struct StopArgs {
    /// Kill it when so much time has passed
    #[arg(long, short, value_name = "TIME", default_value = "10", value_parser = values::time)]
    time: Duration,
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// Arguments of `leanbox rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {
    /// Kill it first, if it runs
    #[arg(long, short)]
    force: bool,
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// `ps`: what there is.
pub(crate) fn ps(args: &PsArgs) -> Result<ExitCode> {
    let mut lines = Vec::new();
    for named in Named::all() {
        let state = named.state();
        if state.is_over() && !args.all {
            continue;
        }
        let record = named.record();
        if args.json {
            lines.push(described(&named, &state, record.as_ref()).to_string());
            continue;
        }
        let (root, command) = record.map_or_else(
            || ("-".to_string(), String::new()),
            |one| (one.root, one.command.join(" ")),
        );
        lines.push(format!("{:<20} {:<14} {root} {command}", named.name, state.words()));
    }
    if !args.json {
        say(&format!("{:<20} {:<14} {}", "NAME", "STATUS", "ROOT AND COMMAND"));
    }
    lines.iter().for_each(|line| say(line.trim_end()));
    Ok(ExitCode::SUCCESS)
}

fn described(named: &Named, state: &State, record: Option<&super::Record>) -> serde_json::Value {
    let ended = match state {
        State::Ended(ended) => Some(ended),
        _ => None,
    };
    json!({
        "name": named.name,
        "status": match state { State::Ended(_) => "exited".to_string(), other => other.words() },
        "root": record.map(|one| &one.root),
        "command": record.map(|one| &one.command),
        "host_pid": record.map(|one| one.host_pid),
        "started": record.map(|one| one.started),
        "outcome": ended,
    })
}

/// `inspect`: all that is known, as JSON.
pub(crate) fn inspect(args: &NamesArgs) -> Result<ExitCode> {
    each(&args.names, |named| {
        say(&described(named, &named.state(), named.record().as_ref()).to_string());
        Ok(())
    })
}

/// Does it to each; the first failure is told when all were tried.
pub(super) fn each(
    names: &[String],
    mut one: impl FnMut(&Named) -> Result<()>,
) -> Result<ExitCode> {
    let mut first = Ok(ExitCode::SUCCESS);
    for name in names {
        let done = Named::find(name).and_then(|named| one(&named));
        if let (Err(error), true) = (done, first.is_ok()) {
            first = Err(error);
        }
    }
    first
}

/// `pause`.
pub(crate) fn pause(args: &NamesArgs) -> Result<ExitCode> {
    each(&args.names, |named| asked(named, &Request::Pause))
}

/// `unpause`.
pub(crate) fn unpause(args: &NamesArgs) -> Result<ExitCode> {
    each(&args.names, |named| asked(named, &Request::Unpause))
}

/// `kill`.
pub(crate) fn kill(args: &KillArgs) -> Result<ExitCode> {
    each(&args.names, |named| asked(named, &Request::Signal(args.signal)))
}

/// `stop`: SIGTERM, and when that does not end it in time SIGKILL.
pub(crate) fn stop(args: &StopArgs) -> Result<ExitCode> {
    each(&args.names, |named| {
        if named.state().is_over() {
            return Err(named.not_running());
        }
        if let (Err(error), true) = (asked(named, &Request::Signal(15)), named.has_host()) {
            return Err(error);
        }
        if named.is_over_within(Some(args.time)) {
            return Ok(());
        }
        killed(named)
    })
}

fn killed(named: &Named) -> Result<()> {
    if let (Err(error), true) = (asked(named, &Request::Signal(9)), named.has_host()) {
        return Err(error);
    }
    if named.is_over_within(Some(KILLED)) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Busy, format!("{:?} does not end in {KILLED:?}", named.name)))
}

/// `wait`: prints each exit code when it has ended; exits with the last.
pub(crate) fn wait(args: &NamesArgs) -> Result<ExitCode> {
    let mut last = 0;
    each(&args.names, |named| {
        named.is_over_within(None);
        match named.state() {
            State::Ended(ended) => {
                say(&ended.exit_code.to_string());
                last = ended.exit_code;
                Ok(())
            }
            _ => Err(Error::new(ErrorKind::Gone, format!("{:?}: host gone", named.name))
                .remedy("its host was killed, and it with its host")),
        }
    })?;
    Ok(ExitCode::from(last))
}

/// `rm`.
pub(crate) fn rm(args: &RmArgs) -> Result<ExitCode> {
    each(&args.names, |named| {
        match named.state() {
            State::Running | State::Paused if !args.force => {
                return Err(Error::new(ErrorKind::Busy, format!("{:?} is running", named.name))
                    .remedy(format!(
                        "stop it first (leanbox stop {0}), or rm -f {0}",
                        named.name
                    )));
            }
            State::Running | State::Paused => killed(named)?,
            State::HostGone => drop(leanbox::reclaim()?),
            State::Ended(_) => {}
        }
        // One with --rm may have gone by itself.
        if named.folder.exists() { named.remove() } else { Ok(()) }
    })
}

/// `logs`: what it printed, each stream to ours.
pub(crate) fn logs(args: &LogsArgs) -> Result<ExitCode> {
    let named = Named::find(&args.name)?;
    let wrap = |error: std::io::Error| Error::io(format!("logs of {:?}", named.name), &error);
    let mut reader = Reader::new(&named);
    let mut pieces = reader.more().map_err(wrap)?;
    if let Some(lines) = args.tail {
        keep_last_lines(&mut pieces, lines);
    }
    loop {
        // Asked before the read: what comes before the end is not missed.
        let goes_on = args.follow && named.has_host();
        pieces.extend(reader.more().map_err(wrap)?);
        for piece in pieces.drain(..) {
            if print(&piece, args.timestamps).is_err() {
                // Whoever reads it has had enough.
                return Ok(ExitCode::SUCCESS);
            }
        }
        if !goes_on {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(FOLLOW);
    }
}

fn print(piece: &Piece, with_time: bool) -> std::io::Result<()> {
    let mut text = Vec::new();
    if with_time {
        let (seconds, rest) = (piece.time_ns / 1_000_000_000, piece.time_ns % 1_000_000_000);
        text.extend(format!("{seconds}.{rest:09} ").into_bytes());
    }
    text.extend(&piece.bytes);
    if piece.is_error {
        std::io::stderr().write_all(&text)
    } else {
        let mut out = std::io::stdout();
        out.write_all(&text).and_then(|()| out.flush())
    }
}

/// Of both streams together.
fn keep_last_lines(pieces: &mut Vec<Piece>, lines: usize) {
    if lines == 0 {
        return pieces.clear();
    }
    let mut ends = 0;
    for at in (0..pieces.len()).rev() {
        let is_last = at + 1 == pieces.len();
        let bytes = &pieces[at].bytes;
        for place in (0..bytes.len()).rev() {
            let is_very_end = is_last && place + 1 == bytes.len();
            if bytes[place] == b'\n' && !is_very_end {
                ends += 1;
            }
            if ends == lines {
                pieces[at].bytes.drain(..=place);
                pieces.drain(..at);
                return;
            }
        }
    }
}
