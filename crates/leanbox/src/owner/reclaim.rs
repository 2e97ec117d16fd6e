//! What dead owners left is ended and removed.
//!
//! In: the records of a state folder. Out: whose owner is dead, why, and what it left; or that it
//! is gone. Never: touches what a live owner has. The kernel tells who lives: an owner holds the
//! lock of its record (flock(2)) until its end, in whichever pid namespace it is.

use super::record::{self, Record};
use super::{lock_state, machine_folder, make_private, state_folder};
use crate::{Result, cgroup, network};
use rustix::fs::FlockOperation;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A dead owner, and what it left. Prints as one line.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadOwner {
    /// The file that says so, in the state folder.
    pub record: PathBuf,
    /// Why it counts as dead.
    pub why: String,
    /// How many blocks of 65,536 host ids it had.
    pub id_blocks: usize,
    /// Its cgroups that are there.
    pub groups: Vec<PathBuf>,
    /// Its folders that are there.
    pub folders: Vec<PathBuf>,
    /// How many tables of packet filter rules it had, with links under them.
    pub networks: usize,
}

impl fmt::Display for DeadOwner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.record.file_name().unwrap_or_default().to_string_lossy();
        write!(out, "{name}: {}", self.why)?;
        let counts = [
            (self.id_blocks, "id block"),
            (self.groups.len(), "cgroup"),
            (self.folders.len(), "folder"),
            (self.networks, "network"),
        ];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(out, ", {count} {what}{}", if count == 1 { "" } else { "s" })?;
        }
        Ok(())
    }
}

/// What dead owners left is ended and removed; returns how many there were.
///
/// # Errors
/// The state folder cannot be opened.
pub fn reclaim() -> Result<usize> {
    let state = state_folder();
    let is_here = |dead: &DeadOwner| dead.record.parent() == Some(&state);
    Ok(reclaim_dead_owners()?.iter().filter(|(dead, gone)| *gone && is_here(dead)).count())
}

/// The same, told one by one: what each had left, and whether it is gone. Of one that is not,
/// something does not end; the next try may find it gone.
///
/// # Errors
/// The state folder cannot be opened.
pub fn reclaim_dead_owners() -> Result<Vec<(DeadOwner, bool)>> {
    in_all_folders(|left| (left.tell(), left.reclaim()))
}

/// What would be reclaimed now.
///
/// # Errors
/// The state folder cannot be opened.
pub fn dead_owners() -> Result<Vec<DeadOwner>> {
    in_all_folders(|left| left.tell())
}

/// The state folder, and the machine's where that is another. What else keeps records of its own
/// for the dead to be reclaimed by belongs here.
fn in_all_folders<T>(look: impl Fn(&Left) -> T) -> Result<Vec<T>> {
    let folder = state_folder();
    make_private(&folder)?;
    let boot_id = record::boot_id()?;
    let mut found = Vec::new();
    for folder in [Some(folder.clone()), machine_folder(&folder)?].into_iter().flatten() {
        let _lock = lock_state(&folder)?;
        found.extend(left_in(&folder, &boot_id)?.iter().map(&look));
    }
    Ok(found)
}

/// For who registers: the state folder is locked already.
pub(super) fn reclaim_in(folder: &Path, boot_id: &str) -> Result<()> {
    for left in left_in(folder, boot_id)? {
        left.reclaim();
    }
    Ok(())
}

fn left_in(folder: &Path, boot_id: &str) -> Result<Vec<Left>> {
    Ok(record::all_in(folder)?
        .into_iter()
        .filter_map(|path| Left::of_dead(path, boot_id))
        .collect())
}

/// What a dead owner's record says; its lock is ours.
struct Left {
    path: PathBuf,
    record: Record,
    of_this_boot: bool,
    _lock: File,
}

impl Left {
    /// `None` while its owner lives, and where it cannot be read: the next try may.
    fn of_dead(path: PathBuf, boot_id: &str) -> Option<Self> {
        let file = record::open(&path, false).ok()?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        let record = Record::read(&path).ok()??;
        let of_this_boot = record.boot_id == boot_id;
        Some(Self { path, record, of_this_boot, _lock: file })
    }

    fn tell(&self) -> DeadOwner {
        let Record { groups, folders, blocks, networks, .. } = &self.record;
        let present = |paths: &[PathBuf]| -> Vec<PathBuf> {
            paths.iter().filter(|path| is_there(path)).cloned().collect()
        };
        DeadOwner {
            record: self.path.clone(),
            why: self.why(),
            id_blocks: blocks.len(),
            groups: if self.of_this_boot { present(groups) } else { Vec::new() },
            folders: present(folders),
            networks: if self.of_this_boot { networks.len() } else { 0 },
        }
    }

    fn why(&self) -> String {
        let Record { boot_id, pid_namespace, pid, start_time, .. } = &self.record;
        if boot_id.is_empty() {
            return "it died before it had written who it is".into();
        }
        if !self.of_this_boot {
            return "it is of another boot".into();
        }
        if record::pid_namespace().is_ok_and(|own| own != *pid_namespace) {
            return format!("pid {pid} of {pid_namespace}, another pid namespace, has ended");
        }
        match record::start_time(*pid) {
            Ok(now) if now == *start_time && record::is_zombie(*pid) => {
                format!("pid {pid} has ended")
            }
            Ok(now) if now == *start_time => format!("pid {pid} lives, but has given it up"),
            Ok(_) => format!("pid {pid} has ended, and is another process now"),
            Err(_) => format!("pid {pid} has ended"),
        }
    }

    /// Whether all it names is gone now.
    fn reclaim(&self) -> bool {
        let Record { groups, folders, networks, .. } = &self.record;
        let mut clean = true;
        if self.of_this_boot {
            clean = groups.iter().all(|group| cgroup::remove_tree(group).is_ok());
            let table = self.path.file_name().unwrap_or_default().to_string_lossy();
            clean &= networks.iter().all(|one| network::take_down(&table, one));
        }
        for left in folders {
            // A copy that was being made may still grow for a moment.
            clean &= fs::remove_dir_all(left).is_ok() || !is_there(left);
        }
        // A record whose groups are still busy keeps its id blocks reserved until the next try.
        clean && fs::remove_file(&self.path).is_ok()
    }
}

/// Or may be.
pub(super) fn is_there(path: &Path) -> bool {
    path.try_exists().unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state folder with one record, and the folders that it names as a group and a folder.
    struct State(PathBuf);

    impl Drop for State {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    impl State {
        fn with(name: &str, change: impl Fn(&mut Record)) -> (Self, File) {
            let folder = format!("leanbox-reclaim-{}-{name}", std::process::id());
            let state = Self(std::env::temp_dir().join(folder));
            for folder in ["group", "folder"] {
                fs::create_dir_all(state.0.join(folder)).unwrap();
            }
            let path = state.0.join("leanbox-1-1-0");
            let file = record::open(&path, true).unwrap();
            let mut record = Record::of_this_process().unwrap();
            record.blocks = vec![7];
            record.groups = vec![state.0.join("group")];
            record.folders = vec![state.0.join("folder")];
            change(&mut record);
            record.append_to(&file, &path).unwrap();
            (state, file)
        }

        fn told(&self) -> Vec<String> {
            let left = left_in(&self.0, &record::boot_id().unwrap()).unwrap();
            left.iter().map(|left| left.tell().to_string()).collect()
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap().flatten();
            let mut names: Vec<String> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        }

        fn reclaim(&self) {
            reclaim_in(&self.0, &record::boot_id().unwrap()).unwrap();
        }
    }

    #[test]
    fn a_pid_that_is_another_process_now_is_told_apart() {
        let (state, _) = State::with("reused", |record| record.start_time -= 1);
        let why = format!("pid {} has ended, and is another process now", std::process::id());
        assert_eq!(state.told(), [format!("leanbox-1-1-0: {why}, 1 id block, 1 cgroup, 1 folder")]);
        state.reclaim();
        assert_eq!(state.names(), Vec::<String>::new());
    }

    #[test]
    fn groups_of_another_boot_are_left_alone() {
        let (state, _) = State::with("boot", |record| record.boot_id = "another".into());
        assert_eq!(state.told(), ["leanbox-1-1-0: it is of another boot, 1 id block, 1 folder"]);
        state.reclaim();
        assert_eq!(state.names(), ["group"]);
    }

    #[test]
    fn whoever_holds_the_lock_lives_whatever_its_record_says() {
        let (state, file) = State::with("locked", |record| {
            (record.pid_namespace, record.start_time) = ("pid:[1]".into(), 1);
        });
        rustix::fs::flock(&file, FlockOperation::LockExclusive).unwrap();
        assert_eq!(state.told(), Vec::<String>::new());
        state.reclaim();
        assert_eq!(state.names(), ["folder", "group", "leanbox-1-1-0"]);
        drop(file);
        assert!(state.told()[0].contains("of pid:[1], another pid namespace, has ended"));
        state.reclaim();
        assert_eq!(state.names(), Vec::<String>::new());
    }

    #[test]
    fn a_record_that_was_never_written_is_removed() {
        let (state, file) = State::with("empty", |_| ());
        file.set_len(0).unwrap();
        drop(file);
        state.reclaim();
        assert_eq!(state.names(), ["folder", "group"]);
    }
}
