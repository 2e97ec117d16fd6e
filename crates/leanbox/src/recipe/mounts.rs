//! The mounts of a slot: the trees that its root is made of, and the operations that put them, new
//! file systems and what is shown of the host in their places. Data only.

use super::Recipe;
use super::shown::{bind_list, bind_trees};
use crate::Result;
use crate::plan::Operation;
use crate::rootfs::{Kind, detached};
use leanbox_launcher::wire::{OpKind, TREES, Tree};
use leanbox_sys::mount::{ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Of the mounts in `/proc`: files and folders that tell about the host (masked with nothing)
/// or steer it (read-only), as Docker and the OCI runtimes have them.
const MASKED_FILES: [&str; 7] = [
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
];
const MASKED_FOLDERS: [&str; 3] = ["/proc/acpi", "/proc/asound", "/proc/scsi"];
const PROC_ATTRIBUTES: u64 = ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC;
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Inodes take kernel memory, so there are not more than of the smallest files that have a page.
const BYTES_PER_INODE: u64 = 4096;
/// Copied folders and whiteouts are some, however small the layer.
const INODES_LEAST: u64 = 1024;

/// Detached copies of everything a slot's root is made of, in the order of [`plan`]'s trees.
pub(crate) fn trees(recipe: &Recipe) -> Result<Vec<OwnedFd>> {
    let mut trees = match recipe.rootfs.kind() {
        Kind::Folder { path, dir } => vec![detached(dir, path)?],
        Kind::Overlay { lower, upper } => {
            let mut trees = vec![detached(&upper.1, &upper.0)?];
            for (path, dir) in lower {
                trees.push(detached(dir, path)?);
            }
            trees
        }
    };
    trees.extend(bind_trees(recipe)?);
    Ok(trees)
}

/// A folder as it is.
pub(super) const PLAIN: Tree = Tree { attributes: 0, idmap: 0, file: 0, recursive: 0, unused: 0 };

pub(super) fn tree_list(recipe: &Recipe, idmap: bool) -> Result<Vec<Tree>> {
    let idmap = u32::from(idmap);
    let mut list = match recipe.rootfs.kind() {
        Kind::Folder { .. } => {
            let attributes = ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV;
            vec![Tree { attributes, idmap, ..PLAIN }]
        }
        Kind::Overlay { lower, .. } => {
            vec![Tree { attributes: ATTR_NODEV, idmap, ..PLAIN }; lower.len() + 1]
        }
    };
    list.extend(bind_list(recipe)?);
    Ok(list)
}

/// The root, with `/dev` and `/proc` in it, and the pivot into it. A new proc can only be
/// mounted while the keeper's is in sight, so before the pivot; and it gets its masks there, on
/// paths that nobody who writes to the root can make lead elsewhere meanwhile.
pub(super) fn root_operations(recipe: &Recipe) -> Vec<Operation> {
    let mut ops = match recipe.rootfs.kind() {
        Kind::Folder { .. } => match recipe.writable {
            None => vec![Operation::attach(0, "/new")],
            Some(size) => writable_operations(size),
        },
        Kind::Overlay { lower, .. } => overlay_operations(lower.len()),
    };
    ops.push(Operation::path(OpKind::Chdir, "/new"));
    if matches!(recipe.rootfs.kind(), Kind::Overlay { .. }) {
        ops.extend(["proc", "dev", "tmp"].map(|name| Operation::ensure_dir(".", name, false)));
    }
    ops.push(Operation::bind("/dev", "dev", false));
    ops.push(Operation::filesystem("proc", "/proc", &[], PROC_ATTRIBUTES));
    ops.extend(proc_operations());
    ops.push(Operation::moving("/proc", "proc"));
    ops.push(Operation::plain(OpKind::Pivot));
    ops
}

fn overlay_operations(lower: usize) -> Vec<Operation> {
    let mut ops: Vec<Operation> =
        (0..=lower).map(|tree| Operation::attach(tree, &format!("{TREES}{tree}"))).collect();
    let layers: Vec<String> = (1..=lower).map(|tree| format!("{TREES}{tree}")).collect();
    let (upper, work) = (format!("{TREES}0/diff"), format!("{TREES}0/work"));
    ops.push(overlay(&layers.join(":"), &upper, &work, ATTR_NODEV));
    ops
}

fn overlay(lower: &str, upper: &str, work: &str, attributes: u64) -> Operation {
    let options = [("lowerdir", lower), ("upperdir", upper), ("workdir", work), ("userxattr", "")];
    Operation::filesystem("overlay", "/new", &options, attributes)
}

/// The root below a layer in memory. That one is out of sight once the overlay has it.
fn writable_operations(size: u64) -> Vec<Operation> {
    let inodes = (size / BYTES_PER_INODE).max(INODES_LEAST).to_string();
    let size = size.to_string();
    let options = [("size", size.as_str()), ("nr_inodes", inodes.as_str()), ("mode", "0755")];
    let lower = format!("{TREES}0");
    vec![
        Operation::attach(0, &lower),
        Operation::filesystem("tmpfs", "/new", &options, ATTR_NOSUID | ATTR_NODEV),
        Operation::ensure_dir("/new", "diff", true),
        Operation::ensure_dir("/new", "work", true),
        overlay(&lower, "/new/diff", "/new/work", ATTR_NOSUID | ATTR_NODEV),
    ]
}

/// The same kernel runs inside, so what is missing here is missing there.
fn proc_operations() -> impl Iterator<Item = Operation> {
    let here = |path: &&str| Path::new(path).exists();
    let files = MASKED_FILES.into_iter().filter(here);
    let folders = MASKED_FOLDERS.into_iter().filter(here);
    files
        .map(|path| Operation::bind("/dev/null", path, true))
        .chain(folders.map(|path| Operation::bind("/dev/mqueue", path, true)))
        .chain(READ_ONLY.into_iter().map(|path| Operation::read_only(path, PROC_ATTRIBUTES)))
}

pub(super) fn scratch_operations(size: u64) -> [Operation; 2] {
    let size = size.to_string();
    let options = [("size", size.as_str()), ("nr_inodes", "65536"), ("mode", "1777")];
    [
        Operation::filesystem("tmpfs", "/tmp", &options, ATTR_NOSUID | ATTR_NODEV),
        Operation::filesystem(
            "tmpfs",
            "/dev/shm",
            &options,
            ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC,
        ),
    ]
}
