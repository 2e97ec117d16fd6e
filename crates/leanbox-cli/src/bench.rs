//! `leanbox bench start`: the benchmark of a start, with the original's lines.

use clap::{Subcommand, ValueEnum};
use leanbox::{Error, Policy, Result};
use leanbox_bench::{Mode, Options};
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `leanbox bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Start containers one after the other and print how many and how fast, once a second
    Start(Start),
    /// Time `leanbox run` as a whole process, in turns with crun and bwrap where installed
    Cold(Cold),
}

#[derive(Debug, clap::Args)]
struct Cold {
    /// How many of each tool
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The pause before each, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    gap_ms: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Start {
    /// How long the loop runs, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    seconds: f64,
    /// What a container does before it ends
    #[arg(long, value_enum, default_value_t = ModeName::Noop)]
    mode: ModeName,
    /// Whether slots serve once (a fresh one for each start) or again after a reset; the fork
    /// mode has none [default: once]
    #[arg(long, value_enum)]
    policy: Option<PolicyName>,
    /// Bind the driver and its slots to this CPU: for ratios
    #[arg(long, value_name = "CPU")]
    pin: Option<u32>,
    /// Put @NAME before each line
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Print one JSON object instead of the block (the lines go to standard error)
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeName {
    /// Exit at once: the original's critical path
    Noop,
    /// Execute a do-nothing program
    Exec,
    /// The call that returns twice, in namespaces shared by all
    Fork,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PolicyName {
    /// A fresh slot for every start
    Once,
    /// Slots serve again after a reset
    Reuse,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Start(start) => run_start(start),
        What::Cold(cold) => run_cold(cold),
    }
}

fn run_cold(cold: &Cold) -> Result<ExitCode> {
    let own = std::env::current_exe().map_err(|error| Error::io("/proc/self/exe", &error))?;
    let found =
        leanbox_bench::compare(&own, cold.runs as usize, Duration::from_millis(cold.gap_ms))?;
    crate::say(&if cold.json { json(&found)? } else { found.to_string() });
    Ok(ExitCode::SUCCESS)
}

fn json(report: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(report).map_err(|error| Error::invalid(format!("report: {error}")))
}

fn run_start(start: &Start) -> Result<ExitCode> {
    let duration = Duration::try_from_secs_f64(start.seconds).ok().filter(|time| !time.is_zero());
    let duration = duration
        .ok_or_else(|| Error::invalid(format!("--seconds {}: a number above 0", start.seconds)))?;
    let options = Options {
        duration,
        mode: match start.mode {
            ModeName::Noop => Mode::Noop,
            ModeName::Exec => Mode::Exec,
            ModeName::Fork => Mode::Fork,
        },
        policy: match start.policy {
            Some(_) if start.mode == ModeName::Fork => {
                return Err(Error::invalid("--mode fork has no slots, and so no --policy"));
            }
            None | Some(PolicyName::Once) => Policy::Once,
            Some(PolicyName::Reuse) => Policy::Reuse,
        },
        pin: start.pin,
        name: start.name.clone(),
    };
    let report = leanbox_bench::run(&options, |line| {
        if start.json { eprintln!("{line}") } else { crate::say(line) }
    })?;
    crate::say(&if start.json { json(&report)? } else { report.to_string() });
    Ok(if report.leaked == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
