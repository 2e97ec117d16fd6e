//! `leanbox bench compare`: leanbox beside other tools.

use crate::images;
use leanbox::{Error, Result};
use leanbox_bench::compare::{self, Level, Options, Tool};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Arguments of `leanbox bench compare`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "leanbox bench compare [OPTIONS] [-- COMMAND [ARGS]...]",
    after_help = HELP
)]
pub(crate) struct Args {
    /// Turns at each level; 0: none, only --sustained and --burst
    #[arg(long, value_name = "N", default_value_t = 200)]
    runs: u32,
    /// The pause before each start, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    gap_ms: u64,
    /// Only these tools beside leanbox, as in crun,bwrap [default: all]
    #[arg(long, value_name = "TOOLS", value_delimiter = ',', value_parser = tool)]
    only: Vec<Tool>,
    /// Only these levels: namespaces, limits, full [default: all]
    #[arg(long, value_name = "LEVELS", value_delimiter = ',', value_parser = level)]
    level: Vec<Level>,
    /// Then count starts a second for so long, of leanbox as a library and of crun run in turns
    #[arg(long, value_name = "SECONDS")]
    sustained: Option<f64>,
    /// How many loops start side by side for --sustained [default: one for each CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), requires = "sustained")]
    loops: Option<u16>,
    /// Then start so many at once, of leanbox as a library and of crun run
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    burst: Option<u32>,
    /// Ready slots of leanbox for --burst
    #[arg(long, value_name = "N", default_value_t = 50, requires = "burst")]
    reserve: u32,
    /// Measure nothing: run COMMAND once in each tool at each level and print what it says
    #[arg(long, conflicts_with_all = ["gap_ms", "sustained", "burst"])]
    show: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Program and arguments in a root of busybox, by its absolute path [default: /bin/true]
    #[arg(value_name = "COMMAND", last = true)]
    words: Vec<String>,
}

const HELP: &str = "\
Tools, whichever are installed: crun, runc, youki, bwrap, unshare, isolate, sandlock, podman, docker.
A start that takes more than 100 ms takes part in every tenth turn, one that takes more than
20 seconds in none.

Examples:
  leanbox bench compare --runs 100 --only crun,bwrap --gap-ms 50
  leanbox bench compare --runs 0 --sustained 60 --burst 200 --reserve 50
  leanbox bench compare --show -- /bin/sh -c 'grep Seccomp: /proc/self/status'";

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let options = args.options()?;
    leanbox::make_room_for_groups()?;
    // Kept: from now on a signal sets the flag.
    let _handlers = images::heed_interrupts()?;
    let text = if args.show {
        let shown = compare::show(&options)?;
        if args.json { super::json(&shown)? } else { shown.to_string() }
    } else {
        let found = compare::compare(&options)?;
        if args.json { super::json(&found)? } else { found.to_string() }
    };
    crate::say(&text);
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn options(&self) -> Result<Options> {
        let own = std::env::current_exe().map_err(|error| Error::io("/proc/self/exe", &error))?;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let all_tools = || Tool::ALL.to_vec();
        let all_levels = || Level::ALL.to_vec();
        if self.runs == 0 && self.sustained.is_none() && self.burst.is_none() && !self.show {
            return Err(Error::invalid("--runs 0 measures nothing")
                .remedy("name --sustained or --burst, or more runs"));
        }
        if let Some(program) = self.words.first().filter(|word| !word.starts_with('/')) {
            return Err(Error::invalid(format!("{program:?} is not an absolute path"))
                .remedy("write it as in /bin/sh: not every tool looks in a PATH"));
        }
        let default_words = || vec!["/bin/true".to_string()];
        Ok(Options {
            leanbox: own,
            runs: self.runs as usize,
            gap: Duration::from_millis(self.gap_ms),
            tools: if self.only.is_empty() { all_tools() } else { self.only.clone() },
            levels: if self.level.is_empty() { all_levels() } else { self.level.clone() },
            words: if self.words.is_empty() { default_words() } else { self.words.clone() },
            sustained: self.sustained.map(seconds).transpose()?,
            loops: self.loops.map_or(cpus, usize::from),
            burst: self.burst.map(|count| count as usize),
            reserve: self.reserve as usize,
            interrupted: Arc::clone(&leanbox_image::INTERRUPTED),
        })
    }
}

fn seconds(number: f64) -> Result<Duration> {
    let duration = Duration::try_from_secs_f64(number).ok().filter(|time| !time.is_zero());
    duration.ok_or_else(|| Error::invalid(format!("--sustained {number}: a number above 0")))
}

fn tool(name: &str) -> Result<Tool, String> {
    let names = || Tool::ALL.map(Tool::name).join(", ");
    Tool::named(name).ok_or_else(|| format!("the tools are {}", names()))
}

fn level(name: &str) -> Result<Level, String> {
    let names = || Level::ALL.map(Level::name).join(", ");
    Level::named(name).ok_or_else(|| format!("the levels are {}", names()))
}
