//! An ordinary user: a home with a root file system, and what was delegated to it.

use crate::common::{Done, Place, place};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One that nobody is.
pub(crate) const USER: u32 = 61_234;
/// What distributions give (useradd(8)).
pub(crate) const USUAL_IDS: u32 = 65_536;

/// The user's home, and the groups that go with it.
pub(crate) struct User {
    pub(crate) home: Place,
    pub(crate) ids: u32,
    pub(crate) path: Option<PathBuf>,
    groups: Option<Groups>,
}

/// Folders in every hierarchy that has the controllers.
struct Groups {
    name: String,
    folders: Vec<PathBuf>,
}

impl Drop for Groups {
    fn drop(&mut self) {
        for folder in &self.folders {
            let _ = fs::remove_dir(folder);
        }
    }
}

impl User {
    /// One with the usual subordinate ids, and no groups.
    pub(crate) fn new(name: &str) -> Self {
        let home = place(&format!("rootless-{name}"));
        fs::create_dir(home.0.join("run")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_leanbox"), home.0.join("leanbox")).unwrap();
        give(&home.0);
        fs::set_permissions(home.0.join("run"), fs::Permissions::from_mode(0o700)).unwrap();
        Self { home, ids: USUAL_IDS, path: None, groups: None }
    }

    /// And with groups of its own, as systemd's `Delegate=` gives them.
    pub(crate) fn with_groups(mut self) -> Self {
        let name = format!("leanbox-user-{}", self.home.0.file_name().unwrap().to_string_lossy());
        let top = Path::new("/sys/fs/cgroup");
        let folders = match top.join("cgroup.controllers").exists() {
            true => vec![delegate(&top.join(&name))],
            false => ["memory", "pids", "cpu", "cpuacct"]
                .map(|controller| top.join(controller))
                .iter()
                .filter(|hierarchy| hierarchy.is_dir())
                .map(|hierarchy| delegate(&hierarchy.join(&name)))
                .collect(),
        };
        self.groups = Some(Groups { name, folders });
        self
    }

    /// `leanbox WORDS` as that user.
    pub(crate) fn leanbox(&self, words: &[&str]) -> Command {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rootless/user.sh");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", script]).arg(&self.home.0).arg(self.ids.to_string());
        command.arg(self.groups.as_ref().map_or("-", |groups| &groups.name));
        command.arg("./leanbox").args(words).stdin(Stdio::null());
        if let Some(path) = &self.path {
            command.env("USER_PATH", path);
        }
        command
    }

    /// The same to its end.
    pub(crate) fn done(&self, words: &[&str]) -> Done {
        Done::of(self.leanbox(words).output().unwrap())
    }

    /// A shell script in a container without resource groups.
    pub(crate) fn sh(&self, script: &str) -> Done {
        self.done(&["run", "--cgroups", "disabled", "./root", "sh", "-c", script])
    }

    /// Neither groups nor an owner's record.
    #[track_caller]
    pub(crate) fn has_nothing_left(&self) {
        let state = self.home.0.join("run/leanbox");
        let groups = self.groups.iter().flat_map(|groups| groups.folders.clone());
        let entries = groups.chain([state]).flat_map(|folder| fs::read_dir(folder).into_iter());
        let is_ours = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("leanbox-"))
        };
        let left: Vec<PathBuf> =
            entries.flatten().flatten().map(|entry| entry.path()).filter(is_ours).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn delegate(folder: &Path) -> PathBuf {
    fs::create_dir(folder).unwrap();
    give(folder);
    folder.to_path_buf()
}

/// Gives a tree to the user.
fn give(path: &Path) {
    std::os::unix::fs::lchown(path, Some(USER), Some(USER)).unwrap();
    if path.is_symlink() || !path.is_dir() {
        return;
    }
    chown(path, Some(USER), Some(USER)).unwrap();
    for entry in fs::read_dir(path).unwrap() {
        give(&entry.unwrap().path());
    }
}
