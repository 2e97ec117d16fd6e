//! `benchmark_lean_container SECONDS [NAME]`: the original's benchmark, which this program is when
//! it is called by that name. It starts containers as `bench start --mode noop --policy reuse`
//! does and prints the original's lines, nothing else.

use crate::signals::is_ignored;
use clap::Parser;
use leanbox::{Error, Policy, Result};
use leanbox_bench::{INTERRUPTED, Mode, Options};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The name of the original's program.
pub(crate) const NAME: &str = "benchmark_lean_container";
/// Exit codes after Ctrl-C (or the end of the terminal) and after SIGTERM, as a shell has them.
const INTERRUPT: u8 = 130;
const TERMINATE: u8 = 143;
/// Exit code of words that make no sense.
const USAGE: u8 = 2;

/// Whether it was SIGTERM.
static TERMINATED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Start containers one after the other and print how many, once a second
#[derive(Debug, Parser)]
#[command(name = NAME)]
struct Words {
    /// How long, in seconds
    seconds: f64,
    /// Taken and left unused, as the original does
    _name: Option<String>,
    /// Say when ready, and begin when a line comes on standard input
    #[arg(long, hide = true)]
    await_go: bool,
}

/// Runs it with this process's words.
pub(crate) fn run() -> ExitCode {
    let words = match Words::try_parse() {
        Ok(words) => words,
        Err(error) if !error.use_stderr() => {
            crate::say(error.to_string().trim_end());
            return ExitCode::SUCCESS;
        }
        Err(_) => {
            crate::tell(&format!("{NAME}: write {NAME} SECONDS [NAME], as in {NAME} 10"));
            return ExitCode::from(USAGE);
        }
    };
    options(&words).and_then(lines).unwrap_or_else(|error| {
        crate::tell(&format!("{NAME}: {error}"));
        ExitCode::FAILURE
    })
}

fn options(words: &Words) -> Result<Options> {
    let duration = Duration::try_from_secs_f64(words.seconds).ok().filter(|time| !time.is_zero());
    let duration = duration.ok_or_else(|| {
        Error::invalid(format!("{} seconds: write a number above 0", words.seconds))
    })?;
    Ok(Options {
        duration,
        mode: Mode::Noop,
        policy: Policy::Reuse,
        lines_only: true,
        await_go: words.await_go,
        ..Options::default()
    })
}

/// The original's lines and nothing else. A signal ends it early, with nothing left behind.
pub(crate) fn lines(options: Options) -> Result<ExitCode> {
    leanbox::make_room_for_groups()?;
    heed_interrupts()?;
    let options = Options { stop: Arc::clone(&INTERRUPTED), ..options };
    let report = leanbox_bench::run(&options, crate::say)?;
    if report.leaked > 0 {
        return Err(Error::invalid(format!("leaked {} kernel objects", report.leaked)));
    }
    Ok(interrupted().unwrap_or(ExitCode::SUCCESS))
}

/// From now on Ctrl-C, SIGTERM and the end of the terminal are looked at by the loops.
pub(crate) fn heed_interrupts() -> Result<()> {
    // Which one it was is known before that it was one.
    let flags = [
        (SIGTERM, &*TERMINATED),
        (SIGTERM, &*INTERRUPTED),
        (SIGINT, &*INTERRUPTED),
        (SIGHUP, &*INTERRUPTED),
    ];
    for (signal, flag) in flags.into_iter().filter(|(signal, _)| !is_ignored(*signal)) {
        signal_hook::flag::register(signal, Arc::clone(flag))
            .map_err(|error| Error::io("sigaction", &error))?;
    }
    Ok(())
}

/// The exit code where a signal ended it.
pub(crate) fn interrupted() -> Option<ExitCode> {
    let code = if TERMINATED.load(Ordering::Relaxed) { TERMINATE } else { INTERRUPT };
    leanbox_bench::interrupted().then(|| ExitCode::from(code))
}
