//! Whether an ordinary user's group is that user's to use.
//!
//! In: its folder. Out: yes or no. Never: changes anything; a user's systemd is asked.

use crate::{tool, userns};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// Where distributions have systemctl(1).
const SYSTEMCTL: [&str; 2] = ["/usr/bin/systemctl", "/bin/systemctl"];

/// A group is delegated by giving its folder to a user (cgroup-v2.rst, "Delegation"). Below a
/// user's systemd every group is the user's, so that alone says nothing there; and in no version
/// to 252 does it set the attribute that tells of a delegation, as the machine's does.
pub(super) fn is_given(folder: &Path) -> bool {
    let user = rustix::process::geteuid();
    let owns = |folder: &Path| folder.metadata().is_ok_and(|data| data.uid() == user.as_raw());
    if userns::is_machine_root() || !owns(folder) {
        return false;
    }
    !is_of_a_users_systemd(folder) || is_delegated_unit(folder)
}

fn is_of_a_users_systemd(folder: &Path) -> bool {
    folder.components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        name.starts_with("user@") && name.ends_with(".service")
    })
}

fn is_delegated_unit(folder: &Path) -> bool {
    let Some(unit) = folder.file_name() else { return false };
    let Some(systemctl) = SYSTEMCTL.into_iter().find(|path| Path::new(path).is_file()) else {
        return false;
    };
    let words = ["--user", "show", "--property=Delegate", "--value", "--"];
    let said = tool::ask(Command::new(systemctl).args(words).arg(unit), "");
    said.is_ok_and(|said| said.status.success() && said.out == "yes\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_a_users_systemd_are_known_by_its_service() {
        let below = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope";
        assert!(is_of_a_users_systemd(Path::new(below)));
        let beside = "/sys/fs/cgroup/user.slice/user-1000.slice/session-1.scope";
        assert!(!is_of_a_users_systemd(Path::new(beside)));
    }

    #[test]
    fn nothing_is_given_to_the_machines_root() {
        assert!(!is_given(Path::new("/sys/fs/cgroup")));
    }
}
