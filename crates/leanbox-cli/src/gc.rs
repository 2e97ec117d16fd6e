//! `leanbox gc`: removes what killed commands left behind.

use crate::named::{Named, State};
use crate::say;
use leanbox::Result;
use std::process::ExitCode;

/// Arguments of `leanbox gc`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only say what killed containers left and would be removed; not what killed builds left
    #[arg(long)]
    dry_run: bool,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.dry_run {
        return Ok(tell_all());
    }
    let owners = leanbox::reclaim()?;
    for named in stale() {
        named.remove()?;
        say(&format!("removed {:?}, whose host was killed", named.name));
    }
    let builds = leanbox_image::Store::reclaim_default()?;
    if owners > 0 || builds == 0 {
        say(&reclaimed(owners));
    }
    if builds > 0 {
        say("removed what killed builds and exports left");
    }
    Ok(ExitCode::SUCCESS)
}

/// Detached containers whose hosts were killed.
fn stale() -> impl Iterator<Item = Named> {
    // One without a record may be just beginning.
    let is_stale =
        |named: &Named| matches!(named.state(), State::HostGone) && named.record().is_some();
    Named::all().into_iter().filter(is_stale)
}

fn tell_all() -> ExitCode {
    let mut lines: Vec<String> = stale()
        .map(|named| format!("{}: of a container whose host was killed", named.folder.display()))
        .collect();
    for left in leanbox::abandoned() {
        let paths = left.groups.iter().chain(&left.folders).map(|path| path.display().to_string());
        lines.extend(paths.map(|path| format!("{path}: of process {}", left.pid)));
        if left.blocks > 0 {
            lines.push(format!("{} id blocks: of process {}", left.blocks, left.pid));
        }
    }
    if lines.is_empty() {
        lines.push("nothing to reclaim".into());
    }
    lines.iter().for_each(|line| say(line));
    ExitCode::SUCCESS
}

/// How much it was, in words.
pub(crate) fn reclaimed(owners: usize) -> String {
    match owners {
        0 => "nothing to reclaim".to_string(),
        1 => "reclaimed the cgroups, ids and folders of 1 killed command".to_string(),
        many => format!("reclaimed the cgroups, ids and folders of {many} killed commands"),
    }
}
