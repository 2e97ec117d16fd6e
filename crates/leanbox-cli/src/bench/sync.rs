//! `leanbox bench sync`: this program onto the hosts, also under the original's name.

use super::original::{NAME, heed_interrupts, interrupted};
use super::password;
use leanbox::{Error, Result};
use leanbox_bench::cluster::{self, Secrets, Ssh, Synced, Target};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `leanbox bench sync`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The hosts: HOST, USER@HOST or HOST:PORT
    #[arg(long, value_name = "A,B", value_delimiter = ',', required_unless_present = "file")]
    hosts: Vec<String>,
    /// The hosts of this file
    #[arg(short, long, value_name = "FILE.toml", conflicts_with = "hosts")]
    file: Option<PathBuf>,
    #[command(flatten)]
    login: password::Login,
    /// The folder there [default: home]
    #[arg(long, value_name = "DIR", default_value = "~", hide_default_value = true)]
    to: String,
    /// How long a connection may take [default: 10]
    #[arg(long, value_name = "TIME", value_parser = crate::values::time)]
    connect_timeout: Option<Duration>,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let password = args.login.password()?;
    let (hosts, command, timeout) = match &args.file {
        Some(file) => of_file(args, file, password.as_deref())?,
        None => (named(args, password.as_deref())?, None, None),
    };
    heed_interrupts()?;
    if !cluster::is_static()? {
        crate::tell(
            "leanbox: this leanbox is linked when it starts: the hosts need the same C library; \
             make build makes one that needs none",
        );
    }
    let timeout = args.connect_timeout.or(timeout);
    let ssh = Ssh::new(command.as_deref(), timeout, hosts.iter().map(|(_, secrets)| secrets))?;
    let mut failed = false;
    cluster::sync(&hosts, &args.to, &ssh, &mut |target, result| {
        let host = target.label();
        match result {
            Ok(Synced::Nothing) => crate::say(&format!("{host}: nothing to do")),
            Ok(Synced::Copied(bytes)) => {
                let megabytes = bytes.div_ceil(100_000);
                let (whole, tenth) = (megabytes / 10, megabytes % 10);
                crate::say(&format!("{host}: copied {whole}.{tenth} MB as leanbox and {NAME}"));
            }
            Err(error) => {
                failed = true;
                crate::tell(&format!("leanbox: {host}: {error}"));
            }
        }
    })?;
    Ok(interrupted().unwrap_or(ExitCode::from(u8::from(failed))))
}

type Hosts = Vec<(Target, Secrets)>;

/// Each host of a file once.
fn of_file(
    args: &Args,
    file: &std::path::Path,
    password: Option<&str>,
) -> Result<(Hosts, Option<String>, Option<Duration>)> {
    let plan = cluster::read(file, args.login.user.as_deref(), password)?;
    for warning in &plan.warnings {
        crate::tell(&format!("leanbox: {warning}"));
    }
    let mut hosts = Hosts::new();
    for task in plan.tasks {
        if let Some(target) = task.target.filter(|new| !hosts.iter().any(|(old, _)| old == new)) {
            hosts.push((target, task.secrets));
        }
    }
    if hosts.is_empty() {
        return Err(Error::invalid(format!("{}: no host to copy to", file.display())));
    }
    Ok((hosts, plan.ssh, plan.connect_timeout))
}

fn named(args: &Args, password: Option<&str>) -> Result<Hosts> {
    let secrets = Secrets { password: password.map(Into::into), passphrase: None };
    if let Some(user) = &args.login.user {
        Target::parse(&format!("{user}@host")).map_err(|error| error.during("-u"))?;
    }
    let mut hosts = Hosts::new();
    for text in &args.hosts {
        let mut target = Target::parse(text).map_err(|error| error.during("--hosts"))?;
        target.user = target.user.take().or_else(|| args.login.user.clone());
        if !hosts.iter().any(|(old, _)| *old == target) {
            hosts.push((target, secrets.clone()));
        }
    }
    Ok(hosts)
}
