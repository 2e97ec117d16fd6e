//! `leanbox seccomp`: the policy in force, as a profile that reads back as the same, or a table.

use crate::run::security;
use crate::{say, tell};
use leanbox::{Error, Result};
use std::process::ExitCode;

/// Arguments of `leanbox seccomp`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A line for each call instead of JSON
    #[arg(long)]
    table: bool,
    #[command(flatten)]
    security: security::SecurityArgs,
}

/// Prints it; names that this processor has no call for are told on standard error.
pub(crate) fn show(args: &Args) -> Result<ExitCode> {
    let (profile, capabilities) = (args.security.profile()?, args.security.capabilities());
    let text = match args.table {
        true => profile.to_table(&capabilities)?,
        false => profile.to_json(&capabilities)?,
    };
    let text = text.ok_or_else(|| {
        Error::invalid("unconfined is no filter at all").remedy("there is nothing to show")
    })?;
    say(text.trim_end());
    let unknown = profile.unknown_names();
    if !unknown.is_empty() {
        tell(&format!("leanbox: ignored, this processor has no such calls: {}", unknown.join(" ")));
    }
    Ok(ExitCode::SUCCESS)
}
