//! `--show`: runs the program once in each tool at each level and tells what it said, for whoever
//! wants to see that what a row says is true.

use super::find::find;
use super::stage::Stage;
use super::{Absent, Feature, Level, Options, process, words};
use leanbox::{ErrorKind, Result};
use serde::Serialize;
use std::fmt;

/// What the program said in each.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// `compare`.
    pub benchmark: &'static str,
    /// One for each tool and level.
    pub shown: Vec<Said>,
    /// What is not compared, and why.
    pub absent: Vec<Absent>,
}

/// What the program said in one.
#[derive(Debug, Clone, Serialize)]
pub struct Said {
    /// The tool's name.
    pub tool: &'static str,
    /// The level.
    pub level: Level,
    /// Exit code of the whole process; none where a signal ended it or it hung.
    pub code: Option<i32>,
    /// Both streams.
    pub said: String,
    /// As in the row of the comparison.
    pub lacks: Vec<&'static str>,
    /// Likewise.
    pub beyond: Vec<&'static str>,
}

/// Runs the program of `options` in each tool at each level.
///
/// # Errors
/// As of [`compare`](super::compare).
pub fn show(options: &Options) -> Result<Shown> {
    let mut stage = Stage::make(&options.leanbox, &options.words)?;
    let (usable, absent) = find(&options.tools, &mut stage, &options.interrupted)?;
    let mut shown = Vec::new();
    for level in options.levels.iter().copied() {
        for tool in usable.iter().map(|one| one.tool) {
            let id = format!("{}-{}-show", stage.name(), level.name());
            let file = stage.at("said");
            let mut command = words::command(tool, level, &stage, &id)?;
            let status = match process::run(&mut command, &file, &options.interrupted) {
                Ok((_, status)) => status.code(),
                // It hangs.
                Err(error) if error.kind() == ErrorKind::Busy => None,
                Err(error) => return Err(error),
            };
            let said = std::fs::read(&file).unwrap_or_default();
            let said = String::from_utf8_lossy(&said).trim_end().to_string();
            let names = |features: Vec<Feature>| features.into_iter().map(Feature::name).collect();
            let (lacks, beyond) = (names(tool.lacks(level)), names(tool.beyond(level)));
            let (tool, code) = (tool.name(), status);
            shown.push(Said { tool, level, code, said, lacks, beyond });
        }
    }
    Ok(Shown { benchmark: "compare", shown, absent })
}

impl fmt::Display for Shown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let block = |one: &Said| {
            let code = one.code.map_or("killed".into(), |code| format!("exit code {code}"));
            format!("== {}, {}: {code}\n{}", one.tool, one.level.name(), one.said)
        };
        let blocks = self.shown.iter().map(block).chain(self.absent.iter().map(Absent::line));
        out.write_str(&blocks.collect::<Vec<_>>().join("\n"))
    }
}
