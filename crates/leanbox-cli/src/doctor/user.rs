//! Who runs leanbox, and what an ordinary user, or root of a container, needs for it.
//!
//! In: texts of `/proc`, `/etc`, the environment. Out: findings. Never: tries anything; the start at
//! the end does.

use super::{Finding, in_path, number};
use std::fs;
use std::path::Path;

/// What makes the difference.
#[derive(Debug, Default)]
struct Facts {
    is_machine_root: bool,
    has_sys_admin: bool,
    /// `/proc/self/status`.
    status: String,
    mountinfo: String,
    /// sysctl `kernel.unprivileged_userns_clone`, of Debian's kernels.
    userns_clone: Option<u64>,
    /// sysctl `kernel.apparmor_restrict_unprivileged_userns`, of Ubuntu's.
    apparmor_restricts: Option<u64>,
    has_newuidmap: bool,
    runtime_folder: bool,
    is_container: bool,
    program: String,
}

/// What was found.
pub(super) fn look() -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_else(|_| "/usr/local/bin/leanbox".into());
    let runtime = |name| std::env::var_os(name).is_some();
    let facts = Facts {
        is_machine_root: leanbox::is_machine_root(),
        has_sys_admin: leanbox::has_sys_admin(),
        status: read("/proc/self/status"),
        mountinfo: read("/proc/self/mountinfo"),
        userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
        apparmor_restricts: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        has_newuidmap: in_path("newuidmap").is_some() && in_path("newgidmap").is_some(),
        runtime_folder: rustix::process::geteuid().is_root()
            || runtime("XDG_RUNTIME_DIR")
            || runtime("LEANBOX_STATE"),
        is_container: is_container(),
        program: program.display().to_string(),
    };
    findings(&facts)
}

fn is_container() -> bool {
    // What Docker, podman and systemd put there.
    ["/.dockerenv", "/run/.containerenv", "/run/systemd/container"]
        .iter()
        .any(|path| Path::new(path).exists())
}

fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![who(facts)];
    findings.extend(outer_engine(facts));
    if !facts.has_sys_admin {
        findings.extend(unprivileged(facts));
    }
    findings
}

fn who(facts: &Facts) -> Finding {
    match (facts.is_machine_root, facts.has_sys_admin) {
        (true, true) => Finding::ok("user: root"),
        (true, false) => Finding::limited(
            "user: root without CAP_SYS_ADMIN, so leanbox works in a user namespace of its own, \
             where roots have to be copied; docker run --cap-add SYS_ADMIN gives it",
        ),
        (false, true) => Finding::limited(
            "user: root of a user namespace: all slots share their ids, as far as others go",
        ),
        (false, false) => Finding::limited(
            "user: not root: all slots share the user's subordinate ids; with sudo each has its own",
        ),
    }
}

/// What an ordinary user needs for a user namespace of its own.
fn unprivileged(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut missing = |text: String| findings.push(Finding::missing(text));
    if facts.userns_clone == Some(0) {
        missing("user namespaces: for root only; sysctl kernel.unprivileged_userns_clone=1".into());
    }
    if facts.apparmor_restricts == Some(1) {
        missing(apparmor(&facts.program));
    }
    if let Err(error) = leanbox::check_subordinate_ids() {
        missing(format!("subordinate ids: {error}"));
    }
    if !facts.has_newuidmap {
        missing("newuidmap, newgidmap: not there; apt-get install uidmap".into());
    }
    if field(&facts.status, "NoNewPrivs") == Some("1") {
        missing(
            "no_new_privs: set, so newuidmap gets no rights; start leanbox without it \
             (docker run without --security-opt no-new-privileges)"
                .into(),
        );
    }
    if !facts.runtime_folder {
        missing(
            "state folder: XDG_RUNTIME_DIR is not set; log in by systemd \
             (loginctl enable-linger), or set LEANBOX_STATE to a folder of your own"
                .into(),
        );
    }
    findings
}

/// Ubuntu from 23.10 on (its release notes, "unprivileged user namespace restrictions").
fn apparmor(program: &str) -> String {
    format!(
        "user namespaces: AppArmor allows them to programs with a profile only; as root: printf \
         'abi <abi/4.0>,\\ninclude <tunables/global>\\nprofile leanbox {program} \
         flags=(unconfined) {{ userns, }}\\n' >/etc/apparmor.d/leanbox && apparmor_parser -r \
         /etc/apparmor.d/leanbox (or sysctl kernel.apparmor_restrict_unprivileged_userns=0)"
    )
}

/// What a container engine around us has put in the way.
fn outer_engine(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(point) = masked_proc(&facts.mountinfo) {
        findings.push(Finding::missing(format!(
            "/proc: {point} is mounted over, and the kernel then allows no new /proc inside user \
             namespaces; docker run --security-opt systempaths=unconfined (podman: unmask=ALL)"
        )));
    }
    if facts.is_container && field(&facts.status, "Seccomp") == Some("2") {
        findings.push(Finding::limited(
            "seccomp: a filter of a container engine is in force and may refuse mounts and \
             namespaces; docker run --security-opt seccomp=unconfined",
        ));
    }
    findings
}

/// A mount on or below `/proc` that hides a part of it (the kernel's `mnt_already_visible`); an
/// automount as of binfmt_misc is none.
fn masked_proc(mountinfo: &str) -> Option<&str> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?;
        let harmless = ["autofs", "binfmt_misc", "nfsd"].contains(&right.split(' ').next()?);
        (point.starts_with("/proc/") && !harmless).then_some(point)
    })
}

fn field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(facts: &Facts) -> String {
        findings(facts).iter().map(|finding| format!("{finding}\n")).collect()
    }

    #[test]
    fn root_of_the_machine_needs_nothing_of_this() {
        let facts = Facts {
            is_machine_root: true,
            has_sys_admin: true,
            apparmor_restricts: Some(1),
            ..Facts::default()
        };
        assert_eq!(lines(&facts), "ok       user: root\n");
    }

    #[test]
    fn an_ordinary_user_is_told_each_thing_that_is_missing_with_the_remedy() {
        let facts = Facts {
            userns_clone: Some(0),
            apparmor_restricts: Some(1),
            status: "NoNewPrivs:\t1\nSeccomp:\t0\n".into(),
            program: "/opt/leanbox".into(),
            ..Facts::default()
        };
        let lines = lines(&facts);
        for words in [
            "limited  user: not root",
            "missing  user namespaces: for root only; sysctl kernel.unprivileged_userns_clone=1",
            "profile leanbox /opt/leanbox flags=(unconfined) { userns, }",
            "missing  newuidmap, newgidmap: not there; apt-get install uidmap",
            "missing  no_new_privs: set",
            "missing  state folder: XDG_RUNTIME_DIR is not set",
        ] {
            assert!(lines.contains(words), "{words:?} is not in\n{lines}");
        }
    }

    #[test]
    fn inside_a_docker_container_the_options_of_docker_run_are_named() {
        let facts = Facts {
            is_machine_root: true,
            is_container: true,
            status: "NoNewPrivs:\t0\nSeccomp:\t2\n".into(),
            mountinfo: "99 80 0:5 /null /proc/kcore rw - tmpfs tmpfs rw\n".into(),
            has_newuidmap: true,
            runtime_folder: true,
            ..Facts::default()
        };
        let lines = lines(&facts);
        for words in ["--cap-add SYS_ADMIN", "/proc/kcore is mounted over", "seccomp=unconfined"] {
            assert!(lines.contains(words), "{words:?} is not in\n{lines}");
        }
    }

    #[test]
    fn an_automount_below_proc_hides_nothing() {
        let mounts = "24 22 0:22 / /proc rw - proc proc rw\n\
                      30 24 0:29 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n";
        assert_eq!(masked_proc(mounts), None);
    }
}
