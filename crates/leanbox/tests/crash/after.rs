//! What is left of a host that was killed: at first nothing that runs, then nothing at all.

use crate::host;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the kernel may take to end all that a killed host had.
const RUNS_ON: Duration = Duration::from_secs(2);
const RECLAIMED_IN: Duration = Duration::from_secs(5);

/// A host, by the name that its records and groups bear, and those of our children that are not
/// left over from it.
pub(crate) struct Dead<'a> {
    pub(crate) name: String,
    pub(crate) others: &'a [i32],
}

fn groups_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default()
}

impl Dead<'_> {
    /// How long something of it ran on.
    pub(crate) fn assert_nothing_runs(&self, when: &str) -> Duration {
        let began = Instant::now();
        let mut left = Vec::new();
        let gone = host::within(RUNS_ON, || {
            left = host::processes().into_iter().filter(|pid| self.has(*pid)).collect();
            left.is_empty()
        });
        let left: Vec<String> = left.iter().map(|pid| status_of(*pid)).collect();
        assert!(gone, "{when}, after {RUNS_ON:?}: {left:#?}");
        began.elapsed()
    }

    /// Whether a process is of the dead host: in a group of its name, or left to us. Those that
    /// have ended are buried on the way.
    fn has(&self, pid: i32) -> bool {
        let status = status_of(pid);
        let ours = i32::try_from(std::process::id()).unwrap();
        if status.contains(&format!("PPid:\t{ours}\n")) && !self.others.contains(&pid) {
            let buried = leanbox_sys::process::wait(
                pid,
                leanbox_sys::process::WALL | leanbox_sys::process::WNOHANG,
            );
            // cp(1) of a host that was copying a root file system ends on its own.
            return !matches!(buried, Ok((ended, _)) if ended == pid)
                && !status.contains("Name:\tcp\n");
        }
        !status.is_empty() && groups_of(pid).contains(&self.name)
    }

    /// Whoever reclaims next leaves nothing of it: no record, no file, no group. A namespace lives
    /// by who is in it, a descriptor or a mount; its number tells nothing, for another gets it next.
    pub(crate) fn assert_all_reclaimed(&self, when: &str) {
        let mut left = Vec::new();
        let clean = host::within(RECLAIMED_IN, || {
            leanbox::reclaim().unwrap();
            left = self.files();
            left.extend(host::group_folders(&format!("/{}", self.name)));
            left.is_empty()
        });
        assert!(clean, "{when}: {left:#?}");
    }

    /// In the state folder, where records of ids are, and in the folder for temporary files.
    fn files(&self) -> Vec<PathBuf> {
        let pid = self.name.trim_start_matches("leanbox-");
        let names = [self.name.clone(), format!("leanbox-ids-{pid}")];
        let folders = [leanbox::state_folder(), "/run/leanbox".into(), std::env::temp_dir()];
        let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
        let is_its = |path: &PathBuf| {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            names.iter().any(|name| file.starts_with(name.as_str()))
        };
        entries.flatten().map(|entry| entry.path()).filter(is_its).collect()
    }
}

fn status_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}
