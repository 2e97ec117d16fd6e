//! `leanbox bench driver`, hidden: one of several driver processes, begun by another verb.

use std::process::ExitCode;

/// Runs it; its job comes on standard input, and what goes wrong is said on standard output.
pub(crate) fn run() -> ExitCode {
    // An error here means that nobody listens any more.
    leanbox_bench::drive().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
