//! How each tool is told to start one container at a level: its words. Starts nothing itself.

use super::level::Level;
use super::oci::{FIRST_ID, IDS, MEMORY_MAX_BYTES, PIDS_MAX};
use super::stage::{self, Runs, Stage};
use super::tool::Tool;
use super::traces::BOX;
use leanbox::{Error, Result};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// The command that starts the container `id`. Its standard input is set.
///
/// # Errors
/// A file of the stage cannot be opened.
pub(crate) fn command(tool: Tool, level: Level, stage: &Stage, id: &str) -> Result<Command> {
    let program =
        if tool == Tool::Leanbox { stage.leanbox.as_path() } else { tool.name().as_ref() };
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    match tool {
        Tool::Crun | Tool::Runc | Tool::Youki => {
            return Ok(oci_runtime(tool, level, stage, Runs::Words, id));
        }
        Tool::Leanbox => {
            command.arg("run").arg(stage.root());
        }
        Tool::Bwrap => bwrap(&mut command, level, stage)?,
        Tool::Unshare => unshare(&mut command, level, &stage.root()),
        Tool::Isolate => isolate(&mut command, level, &stage.root()),
        Tool::Sandlock => sandlock(&mut command, level, &stage.root()),
        Tool::Podman => podman_run(&mut command, level, stage),
        Tool::Docker => docker_run(&mut command, level, stage, id),
    }
    command.args(&stage.words);
    Ok(command)
}

/// `crun run` and its likes, with a state folder of their own.
pub(crate) fn oci_runtime(
    tool: Tool,
    level: Level,
    stage: &Stage,
    runs: Runs,
    id: &str,
) -> Command {
    let mut command = Command::new(tool.name());
    command.stdin(Stdio::null()).arg("--root").arg(stage.at(tool.name()));
    if (tool, level) == (Tool::Crun, Level::Namespaces) {
        command.arg("--cgroup-manager=disabled");
    }
    command.args(["run", "--bundle"]).arg(stage.bundle(level, runs)).arg(id);
    command
}

fn bwrap(command: &mut Command, level: Level, stage: &Stage) -> Result<()> {
    let full = level == Level::Full;
    command.arg(if full { "--ro-bind" } else { "--bind" }).arg(stage.root()).arg("/");
    command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
    command.args(["--unshare-pid", "--unshare-uts", "--unshare-ipc", "--unshare-net"]);
    command.args(["--unshare-cgroup", "--die-with-parent"]);
    if full {
        let path = stage.filter();
        let filter = File::open(&path).map_err(|error| Error::io(path.display(), &error))?;
        command.args(["--unshare-user", "--cap-drop", "ALL", "--seccomp", "0"]).stdin(filter);
    }
    Ok(())
}

fn unshare(command: &mut Command, level: Level, root: &Path) {
    if level == Level::Full {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--fork"]);
    command.args(["--kill-child", "--mount-proc=/proc", "--root"]).arg(root);
}

/// isolate(1). Its root is its own; the folders in it are ours.
fn isolate(command: &mut Command, level: Level, root: &Path) {
    command.args([BOX, "--silent", "--no-default-dirs", "--dir=proc=proc:fs"]);
    command.arg(format!("--dir=bin={}", root.join("bin").display()));
    command.arg(format!("--dir=etc={}", root.join("etc").display()));
    if level >= Level::Limits {
        command.arg("--cg").arg(format!("--cg-mem={}", MEMORY_MAX_BYTES / 1024));
        command.arg(format!("--processes={PIDS_MAX}"));
    } else {
        command.arg("--processes");
    }
    command.args(["--run", "--"]);
}

fn sandlock(command: &mut Command, level: Level, root: &Path) {
    command.arg("run").arg("--chroot").arg(root);
    command.args(["--fs-read", "/", "--fs-mount", "/proc:/proc:ro"]);
    if level >= Level::Limits {
        command.arg(format!("--max-memory={}M", MEMORY_MAX_BYTES >> 20));
        command.arg(format!("--max-processes={PIDS_MAX}"));
    }
    command.arg("--");
}

/// podman with folders of its own, so that nothing of the machine's podman is touched.
pub(crate) fn podman(command: &mut Command, stage: &Stage) {
    command.arg("--root").arg(stage.at("podman")).arg("--runroot").arg(stage.podman_run());
    command.arg("--tmpdir").arg(stage.at("podman-tmp")).arg("--cgroup-manager=cgroupfs");
    if let Some(runtime) = stage::podman_runtime() {
        command.args(["--runtime", runtime]);
    }
}

fn podman_run(command: &mut Command, level: Level, stage: &Stage) {
    podman(command, stage);
    // Without limits named it asks for some above the hard ones.
    command.args(["run", "--rm", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]);
    if level == Level::Namespaces && stage::podman_runtime() == Some("crun") {
        command.arg("--cgroups=disabled");
    } else {
        command.arg(format!("--cgroup-parent=/{}", stage.name()));
    }
    if level == Level::Full {
        let ids = format!("0:{FIRST_ID}:{IDS}");
        command.args(["--uidmap", &ids, "--gidmap", &ids]);
    }
    engine(command, level, stage);
    command.arg("--rootfs").arg(stage.podman_root(level));
}

fn docker_run(command: &mut Command, level: Level, stage: &Stage, id: &str) {
    command.args(["run", "--rm", "--pull", "never", "--name", id]);
    engine(command, level, stage);
    command.arg(stage.name());
}

/// What podman and Docker call alike.
fn engine(command: &mut Command, level: Level, stage: &Stage) {
    command.args(["--network", "none", "--cgroupns", "private"]);
    if level >= Level::Limits {
        let memory = MEMORY_MAX_BYTES.to_string();
        command.args(["--memory", &memory, "--memory-swap", &memory]);
        command.arg(format!("--pids-limit={PIDS_MAX}"));
    }
    if level == Level::Full {
        let profile = format!("seccomp={}", stage.profile().display());
        command.args(["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]);
        command.args(["--security-opt", &profile]);
    } else {
        command.args(["--security-opt", "seccomp=unconfined"]);
    }
}
