//! `leanbox bench start`: the benchmark of a start, with the original's lines.

use super::PolicyName;
use crate::program::{self, Asked, Files};
use crate::run;
use clap::ValueEnum;
use leanbox::{Error, Policy, Result, Rootfs};
use leanbox_bench::{InRoot, Mode, Options};
use std::process::ExitCode;

/// Arguments of `leanbox bench start`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "leanbox bench start [OPTIONS] [--rootfs ROOTFS|NAME -- COMMAND...]")]
pub(crate) struct Args {
    /// How long the loop runs, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, allow_negative_numbers = true)]
    seconds: f64,
    /// What a container does before it ends [default: noop]
    #[arg(long, value_enum)]
    mode: Option<ModeName>,
    /// Whether slots serve once (a fresh one for each start), again after a reset, or share their
    /// namespaces; the modes fork and cold have no choice [default: once]
    #[arg(long, value_enum)]
    policy: Option<PolicyName>,
    /// Start a command in this root file system, a folder or an image
    #[arg(long, value_name = "ROOTFS|NAME", requires = "command", conflicts_with = "mode")]
    rootfs: Option<String>,
    /// The command and its arguments, after --rootfs; it must end with 0
    #[arg(value_name = "COMMAND", last = true, requires = "rootfs")]
    command: Vec<String>,
    /// Driver processes in the loop, each with a pool of its own; all begin at one moment
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    #[arg(value_parser = super::count)]
    processes: usize,
    /// Driver threads in each process, which share its pool
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    #[arg(value_parser = super::count)]
    threads: usize,
    /// Start that many a second whether the last have ended or not, at random moments (a Poisson
    /// process); latencies count from the intended start
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    rate: Option<f64>,
    /// Slots kept ready in each process [default: as the policy needs]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::count)]
    reserve: Option<usize>,
    /// Turns of floors, single starts and classic [default: until every median is sure]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::count)]
    turns: Option<usize>,
    /// Bind the drivers and their slots to this CPU: for ratios
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
    /// A whole leanbox run process with a do-nothing program
    Cold,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let options = args.options()?;
    if args.lines_only {
        return super::original::lines(options);
    }
    let report =
        leanbox_bench::run(
            &options,
            |line| {
                if args.json { crate::tell(line) } else { crate::say(line) }
            },
        )?;
    crate::say(&if args.json { super::json(&report)? } else { report.to_string() });
    Ok(super::exit_code(report.leaked == 0))
}

impl Args {
    fn options(&self) -> Result<Options> {
        let command =
            self.rootfs.as_deref().map(|root| in_root(root, &self.command)).transpose()?;
        let mode = match self.mode {
            _ if command.is_some() => Mode::Command,
            None | Some(ModeName::Noop) => Mode::Noop,
            Some(ModeName::Exec) => Mode::Exec,
            Some(ModeName::Fork) => Mode::Fork,
            Some(ModeName::Cold) => Mode::Cold,
        };
        let policy = match (mode, self.policy) {
            (Mode::Fork, Some(_)) => {
                return Err(Error::invalid("--mode fork has no slots, and so no --policy"));
            }
            (Mode::Cold, Some(_)) => {
                return Err(Error::invalid(
                    "--mode cold makes a slot for each run, and so has no --policy",
                ));
            }
            (_, policy) => policy.map_or(Policy::Once, PolicyName::policy),
        };
        let options = Options {
            duration: super::seconds(self.seconds)?,
            mode,
            command,
            policy,
            pin: self.pin,
            name: self.name.clone(),
            processes: self.processes,
            threads: self.threads,
            rate: self.rate,
            reserve: self.reserve,
            turns: self.turns,
            lines_only: self.lines_only,
            await_go: self.await_go,
            ..super::options()?
        };
        options.validate()?;
        Ok(options)
    }
}

/// The root, and the words as `leanbox run` understands them.
fn in_root(root: &str, words: &[String]) -> Result<InRoot> {
    let folder = run::root_folder(root)?;
    let rootfs = Rootfs::open(&folder)?;
    let files = Files {
        is_file: &|path| rootfs.is_file(path),
        is_program: &|path| rootfs.is_program(path),
    };
    let asked = Asked { words, ..Asked::default() };
    let words = program::resolve(&asked, rootfs.config(), &files)?;
    let rootfs =
        std::path::absolute(&folder).map_err(|error| Error::io(folder.display(), &error))?;
    Ok(InRoot { rootfs, words })
}
