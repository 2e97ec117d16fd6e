//! What holds without root: a container is no more than its user, and less.

use crate::common::Running;
use crate::user::{USER, User};
use std::fs;

#[test]
fn inside_only_the_containers_processes_and_files_are_seen() {
    let user = User::new("seen");
    let secret = user.home.0.join("secret");
    fs::write(&secret, "of the user\n").unwrap();
    let path = secret.display();
    let script = format!("ls -d {path} 2>&1; for p in /proc/[0-9]*; do echo $p; done; ls /dev");
    let done = user.sh(&script);
    let device_names =
        "fd\nfull\nmqueue\nnull\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero";
    let wanted =
        format!("ls: {path}: No such file or directory\n/proc/1\n/proc/2\n/proc/3\n{device_names}");
    // The shell makes a process for what it lists.
    let one_less = wanted.replace("/proc/3\n", "");
    assert!(done.out == wanted || done.out == one_less, "{}", done.out);
}

#[test]
fn root_inside_has_no_capability_and_cannot_write_its_root() {
    let user = User::new("caps");
    let script = "while read key value; do case $key in Cap*|NoNewPrivs:|Seccomp:) echo $key $value;; \
                  esac; done </proc/self/status; echo x 2>/dev/null >/bin/new || echo read-only";
    let zero = "0000000000000000";
    let wanted = format!(
        "CapInh: {zero}\nCapPrm: {zero}\nCapEff: {zero}\nCapBnd: {zero}\nCapAmb: {zero}\n\
         NoNewPrivs: 1\nSeccomp: 2\nread-only"
    );
    user.sh(script).said(&wanted);
}

#[test]
fn files_of_the_user_are_roots_inside_and_the_launcher_is_somebody_else() {
    let user = User::new("owners");
    let script = "echo begun; cat /proc/self/uid_map; exec sleep 45678";
    let words = ["run", "--cgroups", "disabled", "./root", "sh", "-c", script];
    let running = Running::start(&user.home, &mut user.leanbox(&words));
    running.await_text("65535\n");
    let users: Vec<(String, u32)> = processes();
    let of = |name: &str| users.iter().find(|(line, _)| line.starts_with(name)).unwrap().1;
    assert_eq!(of("sleep\u{0}45678"), USER);
    drop(running);
    user.sh("ls -ln /bin/busybox | head -1 | { read mode links user rest; echo $user; }").said("0");
}

#[test]
fn the_launcher_cannot_be_altered() {
    let user = User::new("launcher");
    let script = "kill -9 1 2>&1; cat /proc/1/environ 2>&1; echo -1000 >/proc/1/oom_score_adj";
    let done = user.sh(script);
    assert!(done.out.contains("Operation not permitted") || done.out.contains("Permission denied"));
    assert!(done.err.contains("Permission denied"), "{done:?}");
}

/// Command lines with the user that each is of, as the kernel sees it.
fn processes() -> Vec<(String, u32)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let one = |folder: std::path::PathBuf| {
        let line = fs::read_to_string(folder.join("cmdline")).ok()?;
        let status = fs::read_to_string(folder.join("status")).ok()?;
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        Some((line, uid.split_whitespace().next()?.parse().ok()?))
    };
    entries.filter_map(|entry| one(entry.path())).collect()
}
