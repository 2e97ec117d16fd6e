//! The configuration of an OCI bundle for each level (OCI runtime specification 1.0.2), with
//! what leanbox does by default at the highest. Data only.

use super::level::Level;
use serde_json::{Value, json};
use std::path::Path;

/// The calls that leanbox's filter allows, whatever their arguments.
const CALLS: &str = include_str!("calls.txt");
/// First host id of the container's 65,536: just below leanbox's own blocks.
pub(crate) const FIRST_ID: u32 = 1_878_982_656;
/// How many ids it has.
pub(crate) const IDS: u32 = 65_536;
/// leanbox's default limits.
pub(crate) const MEMORY_MAX_BYTES: u64 = 512 << 20;
/// Likewise.
pub(crate) const PIDS_MAX: u32 = 256;
/// Below the full level, as root outside a user namespace: what Docker leaves a container.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// `config.json` of a bundle that runs `words` in `root`.
pub(crate) fn config(level: Level, root: &Path, words: &[String]) -> Value {
    let full = level == Level::Full;
    let capabilities: &[&str] = if full { &[] } else { &CAPABILITIES };
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": words, "env": ["PATH=/bin"], "cwd": "/",
            "noNewPrivileges": full,
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 4096}],
        },
        "root": {"path": root, "readonly": full},
        "hostname": "leanbox",
        "mounts": mounts(),
        "linux": linux(level),
    })
}

fn mounts() -> Value {
    let tmpfs = |at: &str, options: &[&str]| json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": options});
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        tmpfs("/dev", &["nosuid", "mode=755", "size=65536k"]),
        tmpfs("/tmp", &["nosuid", "nodev", "size=65536k"]),
    ])
}

fn linux(level: Level) -> Value {
    let kinds = ["pid", "ipc", "uts", "mount", "network", "cgroup"];
    let user = (level == Level::Full).then_some("user");
    let namespaces = kinds.into_iter().chain(user).map(|kind| json!({"type": kind}));
    let mut linux = json!({ "namespaces": namespaces.collect::<Vec<_>>() });
    if level >= Level::Limits {
        let memory = json!({"limit": MEMORY_MAX_BYTES, "swap": MEMORY_MAX_BYTES});
        linux["resources"] = json!({"memory": memory, "pids": {"limit": PIDS_MAX}});
    }
    if level == Level::Full {
        let ids = json!([{"containerID": 0, "hostID": FIRST_ID, "size": IDS}]);
        (linux["uidMappings"], linux["gidMappings"]) = (ids.clone(), ids);
        linux["maskedPaths"] = json!(["/proc/kcore", "/proc/keys", "/proc/timer_list"]);
        linux["readonlyPaths"] =
            json!(["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]);
        linux["seccomp"] = seccomp();
    }
    linux
}

/// The filter, as bundles, podman and Docker take it.
pub(crate) fn seccomp() -> Value {
    let names: Vec<&str> = CALLS.split_whitespace().collect();
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(level: Level) -> Value {
        config(level, Path::new("/root"), &["/bin/true".into()])
    }

    #[test]
    fn the_bundle_allows_what_ordinary_programs_call() {
        let config = of(Level::Full);
        let names = config["linux"]["seccomp"]["syscalls"][0]["names"].as_array().unwrap();
        for name in ["execve", "read", "openat", "exit_group", "clone"] {
            assert!(names.contains(&json!(name)), "{name}");
        }
        assert!(!names.contains(&json!("mount")));
    }

    #[test]
    fn each_level_adds_to_the_bundle_what_it_says() {
        let [namespaces, limits, full] = Level::ALL.map(of);
        assert!(namespaces["linux"]["resources"].is_null());
        assert_eq!(limits["linux"]["resources"]["pids"]["limit"], 256);
        assert_eq!(limits["linux"]["resources"], full["linux"]["resources"]);
        for (config, is_full) in [(&namespaces, false), (&limits, false), (&full, true)] {
            let user = config["linux"]["namespaces"].as_array().unwrap().last().unwrap();
            assert_eq!(user == &json!({"type": "user"}), is_full);
            assert_eq!(config["linux"]["seccomp"].is_object(), is_full);
            assert_eq!(config["process"]["noNewPrivileges"], is_full);
            assert_eq!(config["root"]["readonly"], is_full);
            let bounding = config["process"]["capabilities"]["bounding"].as_array().unwrap();
            assert_eq!(bounding.is_empty(), is_full);
        }
    }
}
