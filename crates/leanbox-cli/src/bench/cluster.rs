//! `leanbox bench cluster`: the same benchmark on many hosts.

use super::original::{heed_interrupts, interrupted};
use super::password;
use leanbox::Result;
use leanbox_bench::cluster::{self, ASKPASS, Ssh};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `leanbox bench cluster`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What runs where: the original's pass blocks, or hosts, processes, seconds, mode, policy
    #[arg(short, long, value_name = "FILE.toml")]
    file: PathBuf,
    #[command(flatten)]
    login: password::Login,
    /// How long a connection may take [default: 10]
    #[arg(long, value_name = "TIME", value_parser = crate::values::time)]
    connect_timeout: Option<Duration>,
    /// Print one JSON object instead of the table (the lines go to standard error)
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let password = args.login.password()?;
    let plan = cluster::read(&args.file, args.login.user.as_deref(), password.as_deref())?;
    for warning in &plan.warnings {
        crate::tell(&format!("leanbox: {warning}"));
    }
    heed_interrupts()?;
    let secrets = plan.tasks.iter().map(|task| &task.secrets);
    let timeout = args.connect_timeout.or(plan.connect_timeout);
    let ssh = Ssh::new(plan.ssh.as_deref(), timeout, secrets)?;
    cluster::copy(&plan, &ssh, &mut crate::tell)?;
    let mut line = |line: &str| if args.json { crate::tell(line) } else { crate::say(line) };
    let mut problem = |line: &str| crate::tell(&format!("leanbox: {line}"));
    let report = cluster::run(&plan, &ssh, &mut line, &mut problem)?;
    crate::say(&if args.json { super::json(&report)? } else { report.to_string() });
    Ok(interrupted().unwrap_or(ExitCode::from(u8::from(!report.is_whole()))))
}

/// ssh asks: answers with the secret, if there is one, else with nothing and a code that says so.
pub(crate) fn answer_ssh() -> ExitCode {
    let mut words = std::env::args_os();
    let (called_as, prompt) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match cluster::answer(called_as.as_ref(), &prompt.to_string_lossy()) {
        Some(secret) => {
            crate::say(&secret);
            ExitCode::SUCCESS
        }
        None => ExitCode::FAILURE,
    }
}

/// The name under which ssh calls this program.
pub(crate) const ASKED_BY_SSH: &str = ASKPASS;
