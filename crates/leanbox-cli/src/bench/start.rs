//! `leanbox bench start`: the benchmark of a start, with the original's lines.

use clap::ValueEnum;
use leanbox::{Error, Policy, Result};
use leanbox_bench::{Mode, Options};
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `leanbox bench start`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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
    /// Print the lines and nothing after them
    #[arg(long, hide = true)]
    lines_only: bool,
    /// Say when ready, and begin when a line comes on standard input
    #[arg(long, hide = true)]
    await_go: bool,
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
    let duration = Duration::try_from_secs_f64(args.seconds).ok().filter(|time| !time.is_zero());
    let duration = duration
        .ok_or_else(|| Error::invalid(format!("--seconds {}: a number above 0", args.seconds)))?;
    let options = Options {
        duration,
        mode: match args.mode {
            ModeName::Noop => Mode::Noop,
            ModeName::Exec => Mode::Exec,
            ModeName::Fork => Mode::Fork,
        },
        policy: match args.policy {
            Some(_) if args.mode == ModeName::Fork => {
                return Err(Error::invalid("--mode fork has no slots, and so no --policy"));
            }
            None | Some(PolicyName::Once) => Policy::Once,
            Some(PolicyName::Reuse) => Policy::Reuse,
        },
        pin: args.pin,
        name: args.name.clone(),
        lines_only: args.lines_only,
        await_go: args.await_go,
    };
    if args.lines_only {
        return super::original::lines(&options);
    }
    let report = leanbox_bench::run(&options, |line| {
        if args.json { eprintln!("{line}") } else { crate::say(line) }
    })?;
    crate::say(&if args.json { super::json(&report)? } else { report.to_string() });
    Ok(if report.leaked == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
