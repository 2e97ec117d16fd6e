//! `bench cold`: whole processes, from spawning the command to its exit, leanbox in turns with
//! whichever of crun and bubblewrap is installed: same root, same program (busybox `true`), same
//! namespaces. crun gets leanbox's limits and a filter with the calls that leanbox allows;
//! bubblewrap can set neither, while leanbox always does.

use crate::Summary;
use crate::folder::Folder;
use leanbox::{Error, ErrorKind, Result};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Unmeasured turns before the first.
const WARM_UP: usize = 3;
/// The calls that leanbox's filter allows, whatever their arguments.
const CALLS: &str = include_str!("cold/calls.txt");
const BUSYBOX: &str = "/bin/busybox";

/// What a comparison of whole processes found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cold {
    /// The pause before each start.
    pub gap_ms: u64,
    /// One row for each tool.
    pub rows: Vec<ColdRow>,
}

/// One tool's times.
#[derive(Debug, Clone, Serialize)]
pub struct ColdRow {
    /// `leanbox`, `crun` or `bwrap`.
    pub tool: String,
    /// What it has at this level.
    pub level: String,
    /// From spawn to exit.
    pub times: Summary,
}

/// A tool and how to start one container with it.
struct Peer {
    tool: &'static str,
    level: &'static str,
    command: Box<dyn Fn(usize) -> Command>,
}

/// Measures `runs` of each tool in turns, with `gap` before each. `leanbox` is the program to
/// compare.
///
/// # Errors
/// busybox is not installed, or a container cannot be started.
pub fn compare(leanbox: &Path, runs: usize, gap: Duration) -> Result<Cold> {
    let folder = Folder::make()?;
    let root = folder.path.join("root");
    fill(&root)?;
    leave_hybrid_v2()?;
    let peers = peers(leanbox, &folder.path, &root)?;
    let mut samples: Vec<Vec<Duration>> = vec![Vec::with_capacity(runs); peers.len()];
    for run in 0..WARM_UP + runs {
        for index in turn(run, peers.len()) {
            std::thread::sleep(gap);
            let taken = once(&peers[index], run, &folder.path.join("said"))?;
            if run >= WARM_UP {
                samples[index].push(taken);
            }
        }
    }
    let rows = peers.iter().zip(&samples).map(|(peer, samples)| ColdRow {
        tool: peer.tool.into(),
        level: peer.level.into(),
        times: Summary::of(samples),
    });
    let gap_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
    Ok(Cold { gap_ms, rows: rows.collect() })
}

/// The order of one turn. Each comes after each other one: the kernel takes apart what the one
/// before has left while the next begins.
fn turn(run: usize, peers: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..peers).map(|index| (index + run / 2) % peers).collect();
    if run % 2 == 1 {
        order.reverse();
    }
    order
}

/// What it says goes into a file of ours: crun gives its streams to the container's root.
fn once(peer: &Peer, run: usize, said: &Path) -> Result<Duration> {
    let file = fs::File::create(said).map_err(|error| Error::io(said.display(), &error))?;
    let mut command = (peer.command)(run);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let begin = Instant::now();
    let status = command.status().map_err(|error| Error::io(peer.tool, &error))?;
    let taken = begin.elapsed();
    if status.success() {
        return Ok(taken);
    }
    let text = fs::read_to_string(said).unwrap_or_default();
    let last = text.lines().last().unwrap_or("it said nothing");
    Err(Error::new(ErrorKind::System, format!("{} true: {status}: {last}", peer.tool)))
}

fn fill(root: &Path) -> Result<()> {
    let wrap = |error: std::io::Error| Error::io(root.display(), &error);
    for dir in ["bin", "proc", "dev", "tmp", "etc", "sys"] {
        fs::create_dir_all(root.join(dir)).map_err(wrap)?;
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).map_err(|error| {
        Error::io(BUSYBOX, &error).remedy("install it: apt-get install busybox-static")
    })?;
    symlink("busybox", root.join("bin/true")).map_err(wrap)
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

fn peers(leanbox: &Path, folder: &Path, root: &Path) -> Result<Vec<Peer>> {
    let (own, at) = (leanbox.to_path_buf(), root.to_path_buf());
    let mut peers = vec![Peer {
        tool: "leanbox",
        level: "namespaces, limits, filter",
        command: Box::new(move |_| {
            let mut command = Command::new(&own);
            command.arg("run").arg(&at).arg("/bin/true");
            command
        }),
    }];
    if let Some(crun) = installed("crun") {
        let bundle = bundle(folder, root)?;
        peers.push(Peer {
            tool: "crun",
            level: "namespaces, limits, filter",
            command: Box::new(move |run| {
                let mut command = Command::new(&crun);
                let name = format!("leanbox-bench-{}-{run}", std::process::id());
                command.args(["run", "--bundle"]).arg(&bundle).arg(name);
                command
            }),
        });
    }
    if let Some(bwrap) = installed("bwrap") {
        let at = root.to_path_buf();
        peers.push(Peer {
            tool: "bwrap",
            level: "namespaces",
            command: Box::new(move |_| {
                let mut command = Command::new(&bwrap);
                command.arg("--ro-bind").arg(&at).arg("/").args([
                    "--proc",
                    "/proc",
                    "--dev",
                    "/dev",
                    "--tmpfs",
                    "/tmp",
                    "--unshare-all",
                    "--unshare-user",
                    "--cap-drop",
                    "ALL",
                    "--die-with-parent",
                    "/bin/true",
                ]);
                command
            }),
        });
    }
    Ok(peers)
}

fn installed(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// An OCI bundle with what leanbox does by default.
fn bundle(folder: &Path, root: &Path) -> Result<PathBuf> {
    let bundle = folder.join("bundle");
    let config = serde_json::to_vec(&oci_config(root))
        .map_err(|error| Error::invalid(format!("config.json: {error}")))?;
    fs::create_dir_all(&bundle)
        .and_then(|()| fs::write(bundle.join("config.json"), config))
        .map_err(|error| Error::io(bundle.display(), &error))?;
    Ok(bundle)
}

fn oci_config(root: &Path) -> Value {
    let ids = json!([{"containerID": 0, "hostID": 1_878_982_656, "size": 65536}]);
    let kinds = ["pid", "ipc", "uts", "mount", "network", "user", "cgroup"];
    let tmpfs = |at: &str, options: &[&str]| json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": options});
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "env": ["PATH=/bin"], "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": []
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 4096}],
        },
        "root": {"path": root, "readonly": true},
        "hostname": "leanbox",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            tmpfs("/dev", &["nosuid", "mode=755", "size=65536k"]),
            tmpfs("/tmp", &["nosuid", "nodev", "size=65536k"]),
        ],
        "linux": {
            "namespaces": kinds.map(|kind| json!({"type": kind})),
            "uidMappings": ids, "gidMappings": ids,
            "resources": {"memory": {"limit": 512 << 20}, "pids": {"limit": 256}},
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"
            ],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{
                    "names": CALLS.split_whitespace().collect::<Vec<_>>(),
                    "action": "SCMP_ACT_ALLOW"
                }],
            },
        },
    })
}

impl fmt::Display for Cold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.rows.first().map_or(0, |row| row.times.count);
        writeln!(out, "whole processes, {count} each in turns, {} ms apart", self.gap_ms)?;
        let own = self.rows.first().map_or(0.0, |row| row.times.p50_us);
        for (index, row) in self.rows.iter().enumerate() {
            let Summary { p50_us, p99_us, .. } = row.times;
            write!(out, "  {:<8} {:<28}", row.tool, row.level)?;
            write!(out, "p50 {:6.2} ms   p99 {:6.2} ms", p50_us / 1e3, p99_us / 1e3)?;
            if index > 0 {
                write!(out, "   {:.2} times leanbox's", p50_us / own)?;
            }
            if index + 1 < self.rows.len() {
                writeln!(out)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_allows_what_ordinary_programs_call() {
        let config = oci_config(Path::new("/root"));
        let names = config["linux"]["seccomp"]["syscalls"][0]["names"].as_array().unwrap();
        for name in ["execve", "read", "openat", "exit_group", "clone"] {
            assert!(names.contains(&json!(name)), "{name}");
        }
        assert!(!names.contains(&json!("mount")));
    }
}
