//! Leaving the root: the canary is a file of the host's beside the root file system.

use crate::call::{HERE, Tried, at, call, nr, text, word};
use crate::stage::Stage;
use crate::verdict::{Blocked, Open, Verdict, all, name, opens, refused, refused_with};
use leanbox_sys::fd::{self, O_DIRECTORY, O_RDONLY, O_WRONLY};
use leanbox_sys::{Errno, Fd};
use std::fs;
use std::os::unix::fs::MetadataExt;

const UP: &str = "../../../../../../../../../../../../../../../..";
/// Descriptors that are looked at.
const DESCRIPTORS: Fd = 4096;

/// Whether the canary is in reach by this path.
fn canary_at(stage: &Stage, way: &str) -> Verdict {
    let path = format!("{way}{}", stage.canary);
    match fs::read_to_string(&path) {
        Ok(text) if text.contains(&stage.token) => Open("the host's file was read".into()),
        Ok(_) => Blocked("another file".into()),
        Err(error) => Blocked(name(Errno(error.raw_os_error().unwrap_or(0)))),
    }
}

pub(crate) fn dots(stage: &Stage) -> Verdict {
    all(["", "/..", &format!("/{UP}"), "/proc/self/root/..", &format!("/proc/self/cwd/{UP}")]
        .map(|way| canary_at(stage, way)))
}

/// chroot(2) into a folder while a descriptor outside of it is open, then up from there.
pub(crate) fn chroot(stage: &Stage) -> Verdict {
    let _ = fs::create_dir("/tmp/jail");
    let outside = fd::open(c"/", O_RDONLY | O_DIRECTORY).unwrap();
    match call(nr::__NR_chroot, [at(c"/tmp/jail")]) {
        Err(errno) => refused(Err(errno)),
        Ok(_) => {
            fd::fchdir(outside).unwrap();
            canary_at(stage, UP)
        }
    }
}

/// What a runtime forgot to close (CVE-2024-21626).
pub(crate) fn descriptors(stage: &Stage) -> Verdict {
    let lookup = format!("{UP}{}", stage.canary);
    let lookup = text(&lookup);
    let reaches = |number: Fd| {
        let found = fd::openat(number, &lookup, O_RDONLY, 0);
        found.inspect(|found| fd::close(*found)).is_ok()
    };
    let found = (0..DESCRIPTORS).find(|number| reaches(*number));
    found.map_or(Blocked("none is a folder outside".into()), |number| {
        Open(format!("descriptor {number} is a folder of the host's"))
    })
}

pub(crate) fn working_directory(stage: &Stage) -> Verdict {
    let here = std::env::current_dir().map(|path| path.display().to_string());
    all([
        canary_at(stage, UP),
        match here {
            Ok(path) if path.starts_with('/') => Blocked("a folder inside".into()),
            other => Open(format!("the working directory is {other:?}")),
        },
    ])
}

pub(crate) fn root_of_launcher(stage: &Stage) -> Verdict {
    all(["/proc/1/root", "/proc/1/task/1/root"].map(|way| canary_at(stage, way)))
}

pub(crate) fn directory_of_launcher(stage: &Stage) -> Verdict {
    canary_at(stage, &format!("/proc/1/cwd/{UP}"))
}

/// Another one than the own root, by any process that is in sight.
pub(crate) fn root_of_any_process(stage: &Stage) -> Verdict {
    let own = fs::metadata("/").unwrap();
    all(super::processes().into_iter().map(|pid| match fs::metadata(format!("/proc/{pid}/root")) {
        Ok(root) if (root.dev(), root.ino()) != (own.dev(), own.ino()) => {
            canary_at(stage, &format!("/proc/{pid}/root"))
        }
        Ok(_) => Blocked("the same root".into()),
        Err(error) => Blocked(name(Errno(error.raw_os_error().unwrap_or(0)))),
    }))
}

/// The program that starts containers, opened through a process of it (CVE-2019-5736).
pub(crate) fn program_of_launcher(_: &Stage) -> Verdict {
    let writes = match opens("/proc/1/exe", O_WRONLY) {
        Open(detail) if detail.contains("ETXTBSY") => Open("/proc/1/exe: only ETXTBSY".into()),
        other => other,
    };
    all([opens("/proc/1/exe", O_RDONLY), writes, opens("/proc/1/map_files", O_RDONLY)])
}

/// The same when it has become the container: nothing but the own program is mapped.
pub(crate) fn launchers_memory_is_left(_: &Stage) -> Verdict {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let left = maps.lines().find(|line| line.contains("memfd:"));
    left.map_or(Blocked("nothing of it is mapped".into()), |line| Open(line.to_string()))
}

/// A socket that a launcher talks over; the streams are pipes and files.
pub(crate) fn launchers_socket_is_left(_: &Stage) -> Verdict {
    let sockets = fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|entry| {
        let link = fs::read_link(entry.path()).ok()?.display().to_string();
        (link.starts_with("socket:") || link.contains("memfd:")).then_some(link)
    });
    let sockets: Vec<String> = sockets.collect();
    if sockets.is_empty() { Blocked("none".into()) } else { Open(sockets.join(" ")) }
}

/// A file by its number, past all paths (shocker.c): 2 is the root of an ext4.
pub(crate) fn handle(stage: &Stage) -> Verdict {
    // struct file_handle: 8 bytes, FILEID_INO32_GEN; inode and generation.
    let handle: [u32; 4] = [8, 1, 2, 0];
    let folder = fd::open(c"/", O_RDONLY | O_DIRECTORY).unwrap();
    let number = word(&folder);
    match call(nr::__NR_open_by_handle_at, [number, at(&handle), 0]) {
        Err(errno) => refused(Err(errno)),
        Ok(root) => {
            let path = text(stage.canary.trim_start_matches('/'));
            let found = call(nr::__NR_openat, [root, at(&*path), 0]);
            Open(match found {
                Ok(_) => "the host's file was opened".into(),
                Err(errno) => format!("allowed; then {}", name(errno)),
            })
        }
    }
}

/// A second name in the scratch folder for a file of the root.
pub(crate) fn hard_link(_: &Stage) -> Verdict {
    let link = || -> Tried {
        call(nr::__NR_linkat, [HERE, at(c"/etc/passwd"), HERE, at(c"/tmp/second-name"), 0])
    };
    let verdict = refused_with(link(), &["EPERM", "EXDEV", "EROFS"]);
    let _ = fs::remove_file("/tmp/second-name");
    verdict
}

/// Links in the scratch folder to what the host has.
pub(crate) fn symbolic_link(stage: &Stage) -> Verdict {
    let _ = fs::remove_file("/tmp/link");
    if let Err(error) = std::os::unix::fs::symlink(format!("/{UP}{}", stage.canary), "/tmp/link") {
        return Blocked(error.to_string());
    }
    let read = fs::read_to_string("/tmp/link").is_ok_and(|text| text.contains(&stage.token));
    if read { Open("it was followed to the host".into()) } else { Blocked("leads nowhere".into()) }
}

/// What all slots on one folder would read.
pub(crate) fn write_to_the_root(_: &Stage) -> Verdict {
    let changed = call(nr::__NR_fchmodat, [HERE, at(c"/etc/group"), 0o644]);
    all([
        opens("/etc/passwd", O_WRONLY),
        opens("/bin/busybox", O_WRONLY),
        refused_with(changed, &["EPERM", "EACCES", "EROFS"]),
    ])
}
