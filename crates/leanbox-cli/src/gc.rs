//! `leanbox gc`: removes what killed commands left behind.

use crate::say;
use leanbox::Result;
use std::process::ExitCode;

/// Runs it.
pub(crate) fn run() -> Result<ExitCode> {
    let owners = leanbox::reclaim()?;
    let builds = leanbox_image::Store::reclaim_default()?;
    if owners > 0 || builds == 0 {
        say(&reclaimed(owners));
    }
    if builds > 0 {
        say("removed what killed builds and exports left");
    }
    Ok(ExitCode::SUCCESS)
}

/// How much it was, in words.
pub(crate) fn reclaimed(owners: usize) -> String {
    match owners {
        0 => "nothing to reclaim".to_string(),
        1 => "reclaimed the cgroups, ids and folders of 1 killed command".to_string(),
        many => format!("reclaimed the cgroups, ids and folders of {many} killed commands"),
    }
}
