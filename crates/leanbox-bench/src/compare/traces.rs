//! What tools leave behind when they are killed, and how it is removed: by the tools themselves
//! where they know how, below names and folders that are this process's alone.

use super::process::Process;
use super::stage::Stage;
use super::tool::Tool;
use super::words;
use leanbox::{Error, ErrorKind, Result};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The last of isolate's boxes, as an option; its usual configuration has a thousand.
pub(crate) const BOX: &str = "--box-id=999";
/// Where isolate's boxes are, by its manual's and its packages' configuration.
const BOXES: [&str; 3] =
    ["/var/local/lib/isolate/999", "/var/lib/isolate/999", "/var/lib/isolate/boxes/999"];
/// Groups and folders are busy for a moment after their last process.
const TRIES: u32 = 250;
const TRY: Duration = Duration::from_millis(20);
/// How long a tool may take to remove something.
const PATIENCE: Duration = Duration::from_secs(30);

/// Removes what killed starts of a tool have left. What cannot be removed is left: there is
/// nobody to tell who could do more.
pub(crate) fn remove(tool: Tool, stage: &Stage) {
    match tool {
        Tool::Leanbox => patiently(|| leanbox::reclaim().is_err() || !has_dead_records()),
        Tool::Crun | Tool::Runc | Tool::Youki => delete_containers(tool, &stage.at(tool.name())),
        Tool::Podman => {
            let mut command = Command::new(tool.name());
            words::podman(&mut command, stage);
            quietly(command.args(["rm", "--force", "--all", "--time=0"]));
            // What watched the container cleans up as well, by another podman.
            patiently(|| !is_in_use(&stage.folder));
            remove_groups(&stage.name());
            let _ = fs::remove_dir_all(stage.podman_run());
        }
        Tool::Docker => {
            let filter = format!("name={}-", stage.name());
            let mut list = Command::new("docker");
            list.args(["ps", "--all", "--quiet", "--filter", &filter]).stdin(Stdio::null());
            let ids = list.output().map(|output| output.stdout).unwrap_or_default();
            for id in String::from_utf8_lossy(&ids).split_whitespace() {
                quietly(Command::new("docker").args(["rm", "--force", id]));
            }
            quietly(Command::new("docker").args(["rmi", "--force", &stage.name()]));
        }
        Tool::Isolate => quietly(Command::new("isolate").args([BOX, "--cleanup"])),
        Tool::Bwrap | Tool::Unshare | Tool::Sandlock => {}
    }
}

/// Every container in a runtime's own state folder.
fn delete_containers(tool: Tool, state: &Path) {
    for entry in fs::read_dir(state).into_iter().flatten().flatten() {
        let mut command = Command::new(tool.name());
        command.arg("--root").arg(state).args(["delete", "--force"]).arg(entry.file_name());
        quietly(&mut command);
    }
}

/// A box for isolate's starts.
///
/// # Errors
/// Somebody has that box, or isolate is not set up.
pub(crate) fn make_box() -> Result<()> {
    if let Some(taken) = BOXES.iter().find(|path| Path::new(path).exists()) {
        return Err(Error::new(ErrorKind::Busy, format!("isolate: somebody has the box {taken}")));
    }
    let made = Command::new("isolate").args([BOX, "--init"]).stdin(Stdio::null()).output();
    let made = made.map_err(|error| Error::io("isolate", &error))?;
    let said = String::from_utf8_lossy(&made.stderr);
    let line = said.lines().next_back().unwrap_or("it said nothing");
    let failed = || Error::new(ErrorKind::System, format!("isolate --init: {line}"));
    made.status.success().then_some(()).ok_or_else(failed)
}

fn quietly(command: &mut Command) {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // It ends with this value, should it take longer.
    let process = Process::spawn(command);
    let _ = process.and_then(|mut one| one.wait_within(PATIENCE, &AtomicBool::new(false)));
}

/// podman leaves the group that its containers' groups stand in.
fn remove_groups(name: &str) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let groups = mounts.filter_map(|line| line.split(' ').nth(4));
    for group in groups.map(|mount| Path::new(mount).join(name)) {
        let inside = fs::read_dir(&group).into_iter().flatten().flatten();
        let inside = inside.map(|entry| entry.path()).filter(|path| path.is_dir());
        for folder in inside.chain([group.clone()]).collect::<Vec<PathBuf>>() {
            remove_group(&folder);
        }
    }
}

fn remove_group(folder: &Path) {
    patiently(|| fs::remove_dir(folder).is_ok() || !folder.exists());
}

/// Removes a folder to which what ends just now may still write.
pub(crate) fn remove_folder(folder: &Path) {
    patiently(|| fs::remove_dir_all(folder).is_ok() || !folder.exists());
}

/// Tries until it is done, but not for ever.
fn patiently(done: impl Fn() -> bool) {
    let mut tries = 0..TRIES;
    while !done() && tries.next().is_some() {
        std::thread::sleep(TRY);
    }
}

/// Whether any process has this folder in its words.
fn is_in_use(folder: &Path) -> bool {
    let name = folder.as_os_str().as_bytes();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|line| line.windows(name.len()).any(|piece| piece == name))
}

/// Whether a command that was killed is still on record: a group of its was busy.
fn has_dead_records() -> bool {
    let records = fs::read_dir(leanbox::state_folder()).into_iter().flatten().flatten();
    let names = records.map(|record| record.file_name().to_string_lossy().into_owned());
    names
        .filter_map(|name| Some(name.strip_prefix("leanbox-")?.split('-').next()?.to_string()))
        .filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
        .any(|pid| !Path::new("/proc").join(pid).exists())
}
