//! `[[sync]]` blocks: `scp -3 -r SOURCE TARGET`, one after the other, before anything runs.

use super::child;
use super::plan::{Copy, Plan, Secrets};
use super::ssh::Ssh;
use leanbox::Result;
use std::time::Duration;

/// A copy that takes longer is stuck.
const COPY_TIMEOUT: Duration = Duration::from_secs(600);

/// Copies what the plan's `[[sync]]` blocks name; `line` gets a line for each.
///
/// # Errors
/// The first that fails.
pub fn copy(plan: &Plan, ssh: &Ssh, line: &mut dyn FnMut(&str)) -> Result<()> {
    for Copy { source, targets } in &plan.copies {
        for target in targets {
            line(&format!("copying {source} to {target}"));
            let secrets = secrets(plan, &[target, source]);
            let mut command = ssh.scp(&secrets);
            command.args(["-3", "-r", "--", source, target]);
            child::finish(command, &[], COPY_TIMEOUT, secrets.password.is_some())
                .map_err(|error| error.during(format!("{target}: copying {source}")))?;
        }
    }
    Ok(())
}

/// Those of a block with that host, else those of any.
fn secrets(plan: &Plan, places: &[&String]) -> Secrets {
    let hosts = places.iter().filter_map(|place| place.split_once(':'));
    let hosts: Vec<&str> = hosts.map(|(host, _)| host.rsplit('@').next().unwrap_or(host)).collect();
    let is_there = |host: &str| hosts.contains(&host);
    let mut tasks = plan.tasks.iter();
    let own = tasks.find(|task| task.target.as_ref().is_some_and(|at| is_there(&at.host)));
    let any = || plan.tasks.iter().find(|task| task.secrets != Secrets::default());
    own.or_else(any).map(|task| task.secrets.clone()).unwrap_or_default()
}
