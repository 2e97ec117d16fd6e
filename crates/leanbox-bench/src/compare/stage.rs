//! Where the comparison happens: a temporary folder with the root, the bundles and the tools'
//! own state; a mount namespace in which crun runs. Everything goes with this value.

use super::find::find_program;
use super::level::Level;
use super::oci;
use super::tool::Tool;
use super::traces;
use leanbox::{Error, ErrorKind, Result};
use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

const BUSYBOX: &str = "/bin/busybox";
/// Folders of the root: what the tools mount on.
const FOLDERS: [&str; 7] = ["bin", "proc", "dev", "tmp", "etc", "sys", "run"];
/// The do-nothing program in the root.
pub(crate) const NOTHING: &str = "/nothing";
/// A program in the root that writes one byte, a line's end.
pub(crate) const ECHO: &str = "/bin/echo";

/// What a bundle runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runs {
    /// What is compared.
    Words,
    /// The do-nothing program.
    Nothing,
    /// The program that writes one byte.
    Echo,
}

/// A prepared folder.
pub(crate) struct Stage {
    pub(crate) folder: PathBuf,
    /// The program that is compared.
    pub(crate) leanbox: PathBuf,
    /// What runs in every container.
    pub(crate) words: Vec<String>,
    /// What has been prepared, to be taken apart.
    tools: Vec<Tool>,
}

impl Stage {
    /// Makes the folder with the root, and goes into a mount namespace of its own.
    ///
    /// # Errors
    /// busybox is not installed, or the right to unmount is missing.
    pub(crate) fn make(leanbox: &Path, words: &[String]) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("leanbox-compare-{}", std::process::id()));
        let (leanbox, words) = (leanbox.to_path_buf(), words.to_vec());
        let stage = Self { folder, leanbox, words, tools: Vec::new() };
        fs::create_dir_all(&stage.folder).map_err(|e| Error::io(stage.folder.display(), &e))?;
        fill(&stage.root())?;
        leave_hybrid_v2()?;
        Ok(stage)
    }

    /// The root that all share.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// A name in this folder.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What podman and Docker call what they make.
    pub(crate) fn name(&self) -> String {
        self.folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// The filter in Docker's form.
    pub(crate) fn profile(&self) -> PathBuf {
        self.at("seccomp.json")
    }

    /// The filter as instructions.
    pub(crate) fn filter(&self) -> PathBuf {
        self.at("seccomp.bpf")
    }

    /// The OCI bundle for a level.
    pub(crate) fn bundle(&self, level: Level, runs: Runs) -> PathBuf {
        self.at(&format!("bundle-{}-{runs:?}", level.name()))
    }

    /// podman writes into the root it is given, and at the full level wants it owned by the
    /// container's ids.
    pub(crate) fn podman_root(&self, level: Level) -> PathBuf {
        self.at(if level == Level::Full { "podman-mapped" } else { "podman-root" })
    }

    /// podman's state of what runs. It takes no path of more than 50 characters, which those of
    /// temporary folders can be.
    pub(crate) fn podman_run(&self) -> PathBuf {
        Path::new("/run").join(self.name())
    }

    /// Makes what a tool needs before its first start.
    pub(crate) fn prepare(&mut self, tool: Tool) -> Result<()> {
        self.tools.push(tool);
        match tool {
            Tool::Crun | Tool::Runc | Tool::Youki => self.make_bundles(),
            Tool::Bwrap => write(&self.filter(), &leanbox::default_filter()),
            Tool::Podman => {
                fill(&self.podman_root(Level::Limits))?;
                fill(&self.podman_root(Level::Full))?;
                own(&self.podman_root(Level::Full))?;
                write_json(&self.profile(), &oci::seccomp())
            }
            Tool::Docker => {
                write_json(&self.profile(), &oci::seccomp())?;
                import(&self.root(), &self.name())
            }
            Tool::Isolate => traces::make_box(),
            Tool::Leanbox | Tool::Unshare | Tool::Sandlock => Ok(()),
        }
    }

    fn make_bundles(&self) -> Result<()> {
        for level in Level::ALL {
            for runs in [Runs::Words, Runs::Nothing, Runs::Echo] {
                let words = match runs {
                    Runs::Words => self.words.clone(),
                    Runs::Nothing => vec![NOTHING.into()],
                    Runs::Echo => vec![ECHO.into()],
                };
                let bundle = self.bundle(level, runs);
                fs::create_dir_all(&bundle).map_err(|e| Error::io(bundle.display(), &e))?;
                let config = oci::config(level, &self.root(), &words);
                write_json(&bundle.join("config.json"), &config)?;
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for tool in &self.tools {
            traces::remove(*tool, self);
        }
        traces::remove_folder(&self.folder);
    }
}

/// The error where a signal has come.
pub(crate) fn heed(interrupted: &AtomicBool) -> Result<()> {
    if interrupted.load(Ordering::Relaxed) {
        return Err(Error::new(ErrorKind::Gone, "interrupted"));
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|error| Error::io(path.display(), &error))
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
    write(path, value.to_string().as_bytes())
}

/// A root of busybox and the do-nothing program.
fn fill(root: &Path) -> Result<()> {
    let wrap = |error: std::io::Error| Error::io(root.display(), &error);
    for dir in FOLDERS {
        fs::create_dir_all(root.join(dir)).map_err(wrap)?;
    }
    let missing = |error: std::io::Error| {
        Error::io(BUSYBOX, &error).remedy("install it: apt-get install busybox-static")
    };
    fs::copy(BUSYBOX, root.join("bin/busybox")).map_err(missing)?;
    let list = Command::new(BUSYBOX).arg("--list").output().map_err(missing)?;
    for applet in String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(applet)).map_err(wrap)?;
    }
    let nothing = root.join("nothing");
    write(&nothing, leanbox::floor::NOTHING)?;
    fs::set_permissions(&nothing, fs::Permissions::from_mode(0o755)).map_err(wrap)
}

/// Gives a folder to the first id of a user namespace.
fn own(folder: &Path) -> Result<()> {
    let wrap = |error: std::io::Error| Error::io(folder.display(), &error);
    lchown(folder, Some(oci::FIRST_ID), Some(oci::FIRST_ID)).map_err(wrap)?;
    for entry in fs::read_dir(folder).map_err(wrap)? {
        let entry = entry.map_err(wrap)?;
        if entry.file_type().map_err(wrap)?.is_dir() {
            own(&entry.path())?;
        } else {
            lchown(entry.path(), Some(oci::FIRST_ID), Some(oci::FIRST_ID)).map_err(wrap)?;
        }
    }
    Ok(())
}

/// The root as an image of Docker's.
fn import(root: &Path, image: &str) -> Result<()> {
    let archive = root.with_extension("tar");
    let run = |command: &mut Command| {
        let output = command.output().map_err(|error| Error::io("docker import", &error))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().next_back().unwrap_or("it said nothing").to_string();
        if output.status.success() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::System, format!("docker import: {line}")))
    };
    run(Command::new("tar").arg("-C").arg(root).arg("-cf").arg(&archive).arg("."))?;
    let imported = run(Command::new("docker").arg("import").arg(&archive).arg(image));
    let _ = fs::remove_file(archive);
    imported
}

/// crun takes a cgroup v2 tree beside v1 for the only one: so in a mount namespace of our own
/// what is mounted there is left out.
fn leave_hybrid_v2() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let of = |kind: &str| {
        let mark = format!(" - {kind} ");
        let line = mounts.lines().find(|line| line.contains(&mark))?;
        line.split(' ').nth(4).map(str::to_string)
    };
    let (Some(_), Some(v2)) = (of("cgroup"), of("cgroup2")) else { return Ok(()) };
    let wrap = |call: &str, errno: leanbox_sys::Errno| {
        Error::syscall(call, rustix::io::Errno::from_raw_os_error(errno.0))
    };
    leanbox_sys::process::unshare(leanbox_sys::process::CLONE_NEWNS)
        .map_err(|errno| wrap("unshare(CLONE_NEWNS)", errno))?;
    rustix::mount::mount_change(
        "/",
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
    )
    .and_then(|()| rustix::mount::unmount(&v2, rustix::mount::UnmountFlags::DETACH))
    .map_err(|errno| Error::syscall(format!("umount({v2:?})"), errno))
}

/// The OCI runtime that podman gets.
pub(crate) fn podman_runtime() -> Option<&'static str> {
    ["crun", "runc"].into_iter().find(|name| find_program(name).is_some())
}
