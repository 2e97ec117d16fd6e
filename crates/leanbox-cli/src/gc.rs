//! `leanbox gc`: removes what killed commands left behind, and says what that was.

use crate::named::{Named, State};
use crate::say;
use leanbox::{DeadOwner, Error, ErrorKind, Result};
use std::process::ExitCode;

/// Ends and removes what commands that were killed left behind: processes, cgroups, ids, folders,
/// builds. One line for each: which it was, why it counts as dead, what it left. What a running
/// command has is never touched.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match args.dry_run {
        true => tell_what_is_left(),
        false => remove_what_is_left(),
    }
}

fn tell_what_is_left() -> Result<ExitCode> {
    let owners = leanbox::dead_owners()?;
    let builds = leanbox_image::Store::left_in_default()?;
    let named: Vec<Named> = stale().collect();
    named.iter().for_each(|named| say(&format!("would remove {}", words(named))));
    owners.iter().for_each(|owner| say(&format!("would remove {owner}")));
    if builds > 0 {
        say(&format!("would remove {}", left_by_builds(builds)));
    }
    if owners.is_empty() && builds == 0 && named.is_empty() {
        say(NOTHING);
    }
    Ok(ExitCode::SUCCESS)
}

fn words(named: &Named) -> String {
    format!("the record and logs of {:?}, whose host was killed", named.name)
}

fn remove_what_is_left() -> Result<ExitCode> {
    let owners = leanbox::reclaim_dead_owners()?;
    let builds = leanbox_image::Store::reclaim_default()?;
    let named: Vec<Named> = stale().collect();
    for named in &named {
        named.remove()?;
        say(&format!("removed {}", words(named)));
    }
    for (owner, _) in owners.iter().filter(|(_, gone)| *gone) {
        say(&format!("removed {owner}"));
    }
    if builds > 0 {
        say(&format!("removed {}", left_by_builds(builds)));
    }
    if let Some((owner, _)) = owners.iter().find(|(_, gone)| !gone) {
        return Err(does_not_end(owner));
    }
    if owners.is_empty() && builds == 0 && named.is_empty() {
        say(NOTHING);
    }
    Ok(ExitCode::SUCCESS)
}

fn does_not_end(owner: &DeadOwner) -> Error {
    let error = Error::new(ErrorKind::Busy, format!("{owner}: something in it does not end"));
    error.remedy("try again later; a process may wait for a disk or a network")
}

fn left_by_builds(count: usize) -> String {
    format!("what killed builds and exports left: {count} in the store's tmp folder")
}

const NOTHING: &str = "nothing to reclaim";

/// Detached containers whose hosts were killed.
fn stale() -> impl Iterator<Item = Named> {
    // One without a record may be just beginning.
    let is_stale =
        |named: &Named| matches!(named.state(), State::HostGone) && named.record().is_some();
    Named::all().into_iter().filter(is_stale)
}

/// How much it was, in words.
pub(crate) fn reclaimed(owners: usize) -> String {
    match owners {
        0 => NOTHING.to_string(),
        1 => "reclaimed the cgroups, ids and folders of 1 killed command".to_string(),
        many => format!("reclaimed the cgroups, ids and folders of {many} killed commands"),
    }
}
