//! The `leanbox` command: reads its words, calls the library, says how it went.
//!
//! Exit codes: of `run`, see `outcome`; else 0, 1 where something could not be done, 2 where the
//! words make no sense, 130 or 143 where Ctrl-C or SIGTERM ended it.
#![forbid(unsafe_code)]

mod bench;
mod cli;
mod doctor;
mod gc;
mod images;
mod named;
mod outcome;
mod program;
mod run;
mod seccomp;
mod signals;
mod values;

use cli::Verb;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::explain_panics();
    std::panic::catch_unwind(answer).unwrap_or(ExitCode::from(outcome::FAILED))
}

fn answer() -> ExitCode {
    if let Some(code) = bench::by_other_name() {
        return code;
    }
    let verb = match cli::parse() {
        Ok(verb) => verb,
        Err(code) => return code,
    };
    if let Err(error) = verb.enter_user_namespace() {
        tell(&format!("leanbox: {error}"));
        return ExitCode::from(if matches!(verb, Verb::Run(_)) { outcome::FAILED } else { 1 });
    }
    let result = match &verb {
        Verb::Run(args) => return run::run(args),
        Verb::Build(args) => images::build(args),
        Verb::Export(args) => images::export(args),
        Verb::Images(args) => images::list(args),
        Verb::Rmi(args) => images::remove(args),
        Verb::Bench(args) => bench::run(args),
        Verb::Seccomp(args) => seccomp::show(args),
        Verb::Ps(args) => named::verbs::ps(args),
        Verb::Inspect(args) => named::verbs::inspect(args),
        Verb::Logs(args) => named::verbs::logs(args),
        Verb::Exec(args) => named::exec::exec(args),
        Verb::Cp(args) => named::cp::cp(args),
        Verb::Pause(args) => named::verbs::pause(args),
        Verb::Unpause(args) => named::verbs::unpause(args),
        Verb::Kill(args) => named::verbs::kill(args),
        Verb::Stop(args) => named::verbs::stop(args),
        Verb::Wait(args) => named::verbs::wait(args),
        Verb::Stats(args) => named::use_of::stats(args),
        Verb::Update(args) => named::use_of::update(args),
        Verb::Rm(args) => named::verbs::rm(args),
        Verb::Doctor => doctor::run(),
        Verb::Gc(args) => gc::run(args),
    };
    result.unwrap_or_else(|error| match images::interrupted() {
        // what a step says that was ended with us is not why it ended
        Some(code) => {
            tell("leanbox: interrupted");
            ExitCode::from(code)
        }
        None => {
            tell(&format!("leanbox: {error}"));
            ExitCode::FAILURE
        }
    })
}

/// A line on standard output. Whoever does not read it any more does not want it.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line on standard error.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
