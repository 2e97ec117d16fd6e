//! A look at what dead owners left, for whoever wants to know before it is removed.

use super::{MACHINE, Record, open_record, read_record, records, state_folder};
#[cfg(doc)]
use crate::reclaim;
use rustix::fs::FlockOperation;
use std::path::PathBuf;

/// What one dead owner left.
#[derive(Debug, Clone)]
pub struct Abandoned {
    /// The process that owned it.
    pub pid: u32,
    /// Groups that are still there.
    pub groups: Vec<PathBuf>,
    /// Folders that are still there.
    pub folders: Vec<PathBuf>,
    /// How many id blocks it had reserved.
    pub blocks: usize,
}

/// What [`reclaim`] would end and remove, which is left as it is.
#[must_use]
pub fn abandoned() -> Vec<Abandoned> {
    let of_dead = |path: PathBuf| {
        let file = open_record(&path, false).ok()?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).ok()?;
        let Record { pid, groups, folders, blocks, .. } = read_record(&path)?;
        let there = |paths: Vec<PathBuf>| paths.into_iter().filter(|path| path.exists()).collect();
        Some(Abandoned {
            pid,
            groups: there(groups),
            folders: there(folders),
            blocks: blocks.len(),
        })
    };
    let state = state_folder();
    let machine = Some(PathBuf::from(MACHINE)).filter(|machine| *machine != state);
    [Some(state), machine]
        .iter()
        .flatten()
        .flat_map(|folder| records(folder))
        .filter_map(of_dead)
        .collect()
}
