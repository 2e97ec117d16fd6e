//! A root file system of busybox for the tests, made anew for each test binary.

#![allow(clippy::unwrap_used, dead_code, reason = "tests; not every test uses all of it")]

use leanbox::{
    Command, Container, ErrorKind, Outcome, Policy, Pool, Rootfs, Stdio, Template, probe,
};
use rustix::mount::{MountPropagationFlags, mount_change};
use std::fs;
use std::io::{Read, Write};
use std::ops::RangeBounds;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A folder that goes with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An empty folder of that name, private to this test.
pub(crate) fn folder(name: &str) -> Folder {
    let path = std::env::temp_dir().join(format!("leanbox-test-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    Folder(path)
}

/// What a writable root is written to.
pub(crate) fn upper(name: &str) -> Folder {
    let upper = folder(name);
    for part in ["diff", "work"] {
        fs::create_dir(upper.0.join(part)).unwrap();
    }
    upper
}

/// busybox, its users, an app user's home, a secret of root.
pub(crate) fn busybox(name: &str) -> Folder {
    let root = folder(name);
    fill(&root.0);
    root
}

fn fill(root: &Path) {
    for dir in ["bin", "etc", "proc", "dev", "tmp", "root", "home/app"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox"))
        .expect("the tests need busybox: apt-get install busybox-static");
    let applets = "sh cat echo cut mv id ls true false sleep head dd mkdir rm touch chmod ps kill stat \
        hostname env pwd grep wc mount umount mknod chroot ip tr sed dmesg chown ln tail seq find \
        sync yes nc ipcs ipcrm setsid unshare date test printf";
    for applet in applets.split_whitespace() {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n",
    )
    .unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\napp:x:1000:\nvideo:x:44:app\n").unwrap();
    fs::write(root.join("root/secret"), "of root\n").unwrap();
    fs::set_permissions(root.join("root/secret"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(root.join("home/app"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(root.join("home/app/note"), "of app\n").unwrap();
    for path in ["home/app", "home/app/note"] {
        chown(root.join(path), Some(1000), Some(1000)).unwrap();
    }
}

/// Whether the owners of the tests' files are mapped for each slot: not on an older kernel, which
/// the tests then hold to its fallback.
pub(crate) fn maps_ids() -> bool {
    const TMPFS: i64 = 0x0102_1994;
    let is_tmpfs = rustix::fs::statfs(std::env::temp_dir()).unwrap().f_type == TMPFS;
    let since = if is_tmpfs { (6, 3) } else { (5, 12) };
    !probe::is_off("idmap") && probe::kernel_version() >= since
}

/// Whether the memory controller is v1's.
pub(crate) fn has_memory_v1() -> bool {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
    groups.lines().any(|line| line.contains(":memory:") || line.contains("memory,"))
}

/// Whether the outcome has the peak of memory that is wanted: none on v2 before Linux 5.19.
pub(crate) fn has_peak(outcome: &Outcome, wanted: impl RangeBounds<u64>) -> bool {
    let tells = !probe::is_off("memory_peak") && probe::kernel_version() >= (5, 19);
    let peak_bytes = outcome.memory_peak_bytes;
    if tells || has_memory_v1() { wanted.contains(&peak_bytes) } else { peak_bytes == 0 }
}

/// Whether a root can be writable. Where it cannot, that is said.
pub(crate) fn has_writable_roots() -> bool {
    if maps_ids() && probe::kernel_version() >= (5, 19) {
        return true;
    }
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("unwritable-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let (lower, upper) = (busybox(&name), upper(&format!("{name}-upper")));
    let rootfs = Rootfs::overlay(std::slice::from_ref(&lower.0), &upper.0).unwrap();
    let refused = Template::builder(rootfs).build().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    assert!(refused.to_string().contains("needs idmapped mounts of its layers"), "{refused}");
    false
}

/// Whether a root can have a layer in memory ([`TemplateBuilder::writable`]): from Linux 6.6 on.
/// Where it cannot, that is said.
///
/// [`TemplateBuilder::writable`]: leanbox::TemplateBuilder::writable
pub(crate) fn has_layers_in_memory() -> bool {
    if probe::kernel_version() >= (6, 6) {
        return true;
    }
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let root = busybox(&format!("no-layer-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    let builder = Template::builder(Rootfs::open(&root.0).unwrap()).writable(1 << 20);
    let refused = builder.build().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    assert!(refused.to_string().contains("needs Linux 6.6"), "{refused}");
    false
}

/// Whether a slot that has used memory may serve again: its peak is made to begin anew by v1, and
/// by v2 from Linux 6.12 on.
pub(crate) fn peaks_begin_anew() -> bool {
    let by_v2 = !probe::is_off("peak_reset") && probe::kernel_version() >= (6, 12);
    // Without a peak there is none of an earlier run.
    has_memory_v1() || by_v2 || probe::kernel_version() < (5, 19)
}

/// A template on that root.
pub(crate) fn template(root: &Folder, policy: Policy) -> Template {
    Template::builder(Rootfs::open(&root.0).unwrap()).policy(policy).build().unwrap()
}

/// The outcome of a shell script in a slot of the pool.
pub(crate) fn sh(pool: &Pool, script: &str) -> Outcome {
    Command::new("sh").args(["-c", script]).output(pool).unwrap()
}

/// What a shell script prints.
pub(crate) fn says(pool: &Pool, script: &str) -> String {
    let outcome = sh(pool, script);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_string();
    assert_eq!(text(&outcome.stderr.bytes), "", "{script}");
    text(&outcome.stdout.bytes)
}

/// busybox and the hostile program `attack` (`attack.c`), also as a set-user-id one.
pub(crate) fn hostile(name: &str) -> Folder {
    let root = busybox(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/attack.c");
    let attack = root.0.join("bin/attack");
    let status = std::process::Command::new("gcc")
        .args(["-static", "-O1", "-o"])
        .args([&attack, &source])
        .status()
        .expect("the tests need a C compiler: apt-get install gcc libc6-dev");
    assert!(status.success(), "gcc: {status}; is libc6-dev there?");
    let set_id = root.0.join("bin/attack-as-root");
    fs::copy(&attack, &set_id).unwrap();
    fs::set_permissions(&set_id, fs::Permissions::from_mode(0o6755)).unwrap();
    root
}

/// What the container's statistics say of a second that a program in it uses, by its own clock:
/// without its beginning and its launcher's. It goes on. A virtual machine that is held up counts
/// that as somebody's use, so the nearest of five is told.
pub(crate) fn spin_when_told(pool: &Pool) -> (Duration, Container) {
    let off = |used: Duration| used.abs_diff(Duration::from_secs(1));
    let mut nearest = spin_once(pool);
    for _ in 0..4 {
        if off(nearest.0) > Duration::from_millis(50) {
            let next = spin_once(pool);
            nearest = if off(next.0) < off(nearest.0) { next } else { nearest };
        }
    }
    nearest
}

fn spin_once(pool: &Pool) -> (Duration, Container) {
    let mut command = Command::new("attack");
    command.args(["spin-when-told", "1000"]).stdin(Stdio::Piped).stdout(Stdio::Piped);
    let mut container = command.spawn(pool).unwrap();
    let mut word = [0; 5];
    container.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
    let before = container.stats().unwrap().cpu.total;
    container.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    container.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
    assert_eq!(&word, b"spun\n");
    (container.stats().unwrap().cpu.total - before, container)
}

/// What the hostile program prints.
pub(crate) fn attack(pool: &Pool, words: &[&str]) -> String {
    run(pool, "attack", words)
}

/// What a program prints, started without a shell between.
pub(crate) fn run(pool: &Pool, program: &str, words: &[&str]) -> String {
    let outcome = Command::new(program).args(words.iter().copied()).output(pool).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_string();
    assert_eq!(text(&outcome.stderr.bytes), "", "{program} {words:?}: {:?}", outcome.end);
    text(&outcome.stdout.bytes)
}

/// The line of `/proc/PID/status` (or of any text of that form) that begins with `key`.
pub(crate) fn field(status: &str, key: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key} in {status}")).trim().replace('\t', " ")
}

/// From now on this thread and its children have mounts of their own, propagated as that says
/// (mount_namespaces(7)).
pub(crate) fn leave_mounts(propagation: MountPropagationFlags) {
    #[allow(unsafe_code, reason = "the descriptors stay shared")]
    // SAFETY: mounts and the working directory only.
    unsafe {
        rustix::thread::unshare_unsafe(
            rustix::thread::UnshareFlags::FS | rustix::thread::UnshareFlags::NEWNS,
        )
        .unwrap();
    }
    let recursively = MountPropagationFlags::REC;
    mount_change("/", MountPropagationFlags::PRIVATE | recursively).unwrap();
    mount_change("/", propagation | recursively).unwrap();
}
