//! The words of the command line: which there are, and one clear line where they make no sense.

use crate::{bench, gc, images, named, outcome, run, say, seccomp, tell};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Exit code of words that make no sense, where it cannot be taken for a program's.
const USAGE: u8 = 2;

#[derive(Debug, Parser)]
#[command(name = "leanbox", version, after_help = HELP, disable_help_subcommand = true)]
/// Isolated containers that start at the price of a fork
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

// Laying out the words of every other verb as well takes as long as reading those of `run`, and
// whoever runs a container waits for it.
/// Run a program in a container
#[derive(Debug, Parser)]
#[command(name = "leanbox run", bin_name = "leanbox run")]
struct RunAlone {
    #[command(flatten)]
    args: run::Args,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a program in a container
    Run(Box<run::Args>),
    /// List detached containers
    Ps(named::verbs::PsArgs),
    /// Say all that is known of detached containers, as JSON
    Inspect(named::verbs::NamesArgs),
    /// Print what a detached container printed, as far as it is kept (10 MiB)
    Logs(named::verbs::LogsArgs),
    /// Run a second program in a detached container; exits as it does
    Exec(named::exec::ExecArgs),
    /// Copy between a detached container and here
    Cp(named::cp::Args),
    /// Freeze detached containers
    Pause(named::verbs::NamesArgs),
    /// Let paused ones go on
    Unpause(named::verbs::NamesArgs),
    /// Kill detached containers, or send their programs a signal
    Kill(named::verbs::KillArgs),
    /// End detached containers: SIGTERM, and after a while SIGKILL
    Stop(named::verbs::StopArgs),
    /// Wait until detached containers have ended; prints their exit codes
    Wait(named::verbs::NamesArgs),
    /// Say what detached containers use
    Stats(named::use_of::StatsArgs),
    /// Change limits of detached containers
    Update(named::use_of::UpdateArgs),
    /// Remove what is left of detached containers
    Rm(named::verbs::RmArgs),
    /// Make an app folder an image, and export it if asked
    Build(images::BuildArgs),
    /// Export an image to a folder
    Export(images::ExportArgs),
    /// List the images of the store
    Images(images::ImagesArgs),
    /// Remove an image
    Rmi(images::RmiArgs),
    /// Measure how long a start takes and how many a second are made
    Bench(bench::Args),
    /// Show which system calls a container may make, as a profile to review and edit
    Seccomp(seccomp::Args),
    /// Say what this kernel and user can do, and what is missing
    Doctor,
    /// Remove what commands that were killed left behind
    Gc(gc::Args),
}

impl Verb {
    /// Without root, what makes containers or files with owners does so as root of a user namespace
    /// of its own.
    pub(crate) fn enter_user_namespace(&self) -> leanbox::Result<()> {
        match self {
            // It says what is missing for that.
            Self::Doctor => Ok(()),
            _ => leanbox::enter_user_namespace().map(drop),
        }
    }
}

const HELP: &str = "\
Examples:
  leanbox build apps/hello --name hello
  leanbox run hello
  leanbox run ./rootfs sh -c 'id'
  leanbox bench start --seconds 5

Exit codes: of run, see leanbox run --help; of the others 0, or 1 where something could not be
done, 2 where the words make no sense, 130 or 143 where Ctrl-C or SIGTERM ended it.";

/// Reads the command line; help and mistakes are answered here.
///
/// # Errors
/// The exit code, where there is nothing more to do.
pub(crate) fn parse() -> Result<Verb, ExitCode> {
    read().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            say(error.to_string().trim_end());
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            tell(error.to_string().trim_end());
            ExitCode::from(USAGE)
        }
        _ => {
            let verb = std::env::args().nth(1).filter(|word| !word.starts_with('-'));
            tell(&format!("leanbox: {}", one_line(&error.to_string(), verb.as_deref())));
            let is_run = verb.as_deref() == Some("run");
            ExitCode::from(if is_run { outcome::FAILED } else { USAGE })
        }
    })
}

fn read() -> Result<Verb, clap::Error> {
    let words = || std::env::args_os();
    if words().nth(1).is_some_and(|verb| verb == "run") {
        let alone = RunAlone::try_parse_from(words().skip(1))?;
        return Ok(Verb::Run(Box::new(alone.args)));
    }
    Cli::try_parse().map(|cli| cli.verb)
}

/// The first paragraph of a message in one line, with the help that fits.
fn one_line(message: &str, verb: Option<&str>) -> String {
    let paragraph = message.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    let text = paragraph.collect::<Vec<_>>().join(" ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let known = [
        "run", "ps", "inspect", "logs", "exec", "cp", "pause", "unpause", "kill", "stop", "wait",
        "stats", "update", "rm", "build", "export", "images", "rmi", "bench", "seccomp", "doctor",
        "gc",
    ];
    match verb.filter(|verb| known.contains(verb)) {
        Some(verb) => format!("{text}; see leanbox {verb} --help"),
        None => format!("{text}; see leanbox --help"),
    }
}

/// A bug tells where it is in one line; `main` gives the exit code.
pub(crate) fn explain_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("no words");
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        tell(&format!("leanbox: a bug in leanbox at {at}: {text}; please report it"));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        RunAlone::command().debug_assert();
    }

    #[test]
    fn a_mistake_is_one_line_that_names_the_help() {
        let message = "error: the following were not provided:\n  <A>\n\nUsage: x\n";
        assert_eq!(
            one_line(message, Some("run")),
            "the following were not provided: <A>; see leanbox run --help"
        );
        assert_eq!(one_line("error: x\n", Some("fly")), "x; see leanbox --help");
    }
}
