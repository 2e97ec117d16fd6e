//! Handing controllers down the v2 tree.
//!
//! In: our own group. Out: the group in which new ones can have controllers. Never: moves a
//! process, so a group that holds some and is not the root cannot be used (cgroup-v2.rst, "No
//! Internal Process Constraint").

use super::file;
use super::layout::Hierarchy;
use crate::{Error, ErrorKind, Result};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// What to do where a group holds processes.
pub(super) const REMEDY: &str = "start it in a delegated subgroup: \
    systemd-run --pty -p Delegate=yes -p DelegateSubgroup=main …";

/// The group to make ours in: our own; or the one above it if that was delegated to us, as
/// systemd does with `DelegateSubgroup=` for just this purpose.
pub(super) fn home(hierarchy: &Hierarchy) -> Result<PathBuf> {
    let own = &hierarchy.folder;
    let controllers = hierarchy.roles.controllers();
    let home = delegated_above(own).unwrap_or(own);
    match enable(home, &controllers) {
        Ok(()) => Ok(home.to_path_buf()),
        Err(error) if error.kind() == ErrorKind::Busy => {
            let text = format!("{error}: it holds processes");
            Err(Error::new(ErrorKind::Unsupported, text).remedy(REMEDY))
        }
        Err(error) => Err(error),
    }
}

/// The controllers that groups can have which are made in the [`home`] of a process in `own`.
pub(super) fn controllers_for(own: &Path) -> String {
    let home = delegated_above(own).unwrap_or(own);
    file::read(&home.join("cgroup.controllers")).unwrap_or_default()
}

fn delegated_above(own: &Path) -> Option<&Path> {
    own.parent().filter(|above| is_delegated(above))
}

/// Makes the controllers available to the groups below `folder`. Writes nothing if they are.
pub(super) fn enable(folder: &Path, controllers: &[&str]) -> Result<()> {
    let path = folder.join("cgroup.subtree_control");
    let enabled = file::read(&path)?;
    let missing: Vec<String> = controllers
        .iter()
        .filter(|name| !enabled.split_whitespace().any(|one| one == **name))
        .map(|name| format!("+{name}"))
        .collect();
    if missing.is_empty() { Ok(()) } else { file::write(&path, &missing.join(" ")) }
}

const MARKS: [&str; 2] = ["trusted.delegate", "user.delegate"];

/// Marks a group as ours, if it is not yet.
pub(super) fn mark_delegated(folder: &Path) -> Result<()> {
    if is_delegated(folder) {
        return Ok(());
    }
    rustix::fs::setxattr(folder, MARKS[1], b"1", rustix::fs::XattrFlags::empty())
        .map_err(|errno| Error::syscall(format!("setxattr({folder:?}, {:?})", MARKS[1]), errno))
}

/// systemd marks what it delegates by one of these attributes (systemd.resource-control(5)).
pub(super) fn is_delegated(folder: &Path) -> bool {
    MARKS.iter().any(|name| {
        let mut value = [0; 2];
        let read: Result<usize, Errno> = rustix::fs::getxattr(folder, *name, &mut value[..]);
        read == Ok(1) && value[0] == b'1'
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a file in place of a v2 group; what is written replaces its text's start.
    fn fake(name: &str, enabled: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("leanbox-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("cgroup.subtree_control"), enabled).unwrap();
        folder
    }

    fn text(folder: &Path) -> String {
        let text = file::read(&folder.join("cgroup.subtree_control")).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        text
    }

    #[test]
    fn only_the_controllers_that_are_missing_are_enabled() {
        let folder = fake("missing", "");
        enable(&folder, &["memory", "pids"]).unwrap();
        assert_eq!(text(&folder), "+memory +pids");
    }

    #[test]
    fn nothing_is_written_where_all_are_enabled() {
        let folder = fake("enabled", "cpuset cpu memory pids\n");
        enable(&folder, &["memory", "pids"]).unwrap();
        assert_eq!(text(&folder), "cpuset cpu memory pids\n");
    }

    #[test]
    fn a_folder_without_the_mark_is_not_delegated() {
        assert!(!is_delegated(&std::env::temp_dir()));
        assert!(!is_delegated(Path::new("/nowhere")));
    }
}
