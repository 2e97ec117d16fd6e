//! Which tools can be used here: those on PATH that tell their version and can be prepared.
//!
//! Out: for every other one the reason, in a line. What cannot start a container is found later,
//! by its first start.

use super::process::Process;
use super::report::Absent;
use super::stage::{Stage, heed};
use super::tool::Tool;
use leanbox::{Error, ErrorKind, Result};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long a tool may take to tell its version: an engine may be asked that hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A tool that can be used.
#[derive(Debug, Clone)]
pub(crate) struct Usable {
    pub(crate) tool: Tool,
    pub(crate) version: String,
}

/// Which of these tools can be used beside leanbox, prepared; and why others cannot.
///
/// # Errors
/// leanbox cannot be prepared, or a signal has come.
pub(crate) fn find(
    tools: &[Tool],
    stage: &mut Stage,
    interrupted: &AtomicBool,
) -> Result<(Vec<Usable>, Vec<Absent>)> {
    stage.prepare(Tool::Leanbox)?;
    let own = env!("CARGO_PKG_VERSION").to_string();
    let mut usable = vec![Usable { tool: Tool::Leanbox, version: own }];
    let mut absent = Vec::new();
    for tool in tools.iter().copied().filter(|tool| *tool != Tool::Leanbox) {
        heed(interrupted)?;
        let prepared = version(tool, stage, interrupted).and_then(|version| {
            stage.prepare(tool)?;
            Ok(Usable { tool, version })
        });
        match prepared {
            Ok(one) => usable.push(one),
            Err(error) if error.kind() == ErrorKind::Gone => return Err(error),
            Err(error) => {
                absent.push(Absent { tool: tool.name(), level: None, reason: error.to_string() });
            }
        }
    }
    Ok((usable, absent))
}

/// A program on PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn version(tool: Tool, stage: &Stage, interrupted: &AtomicBool) -> Result<String> {
    let unusable = |why: &str| Error::new(ErrorKind::NotFound, why);
    let program = find_program(tool.name()).ok_or_else(|| unusable("not installed"))?;
    let words: &[&str] = match tool {
        // The client alone starts nothing.
        Tool::Docker => &["version", "--format", "{{.Server.Version}}"],
        _ => &["--version"],
    };
    let [out, err] = ["out", "err"].map(|name| stage.at(name));
    let make = |path: &PathBuf| File::create(path).map_err(|e| Error::io(path.display(), &e));
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(make(&out)?).stderr(make(&err)?);
    let status = Process::spawn(&mut command)?.wait_within(PATIENCE, interrupted)?;
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    match status {
        None => Err(unusable("it does not tell its version within ten seconds")),
        Some(status) if status.success() => Ok(version_in(&read(out))),
        Some(_) => {
            Err(unusable(read(err).trim().lines().last().unwrap_or("it does not tell its version")))
        }
    }
}

/// The first word that begins with a digit, else the first line.
fn version_in(text: &str) -> String {
    let begins = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    let line = text.trim().lines().next().unwrap_or_default();
    line.split_whitespace().find(begins).unwrap_or(line).trim_end_matches(',').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_each_tool_says() {
        let cases = [
            ("crun version 1.8.1\ncommit: f8a096", "1.8.1"),
            ("unshare from util-linux 2.38.1", "2.38.1"),
            ("Docker version 28.2.2, build e6534b4", "28.2.2"),
            ("bubblewrap 0.8.0", "0.8.0"),
            ("unknown", "unknown"),
        ];
        for (text, version) in cases {
            assert_eq!(version_in(text), version);
        }
    }
}
