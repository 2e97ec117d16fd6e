//! The mounts of a slot: the trees that its root is made of, and the operations that put them, new
//! file systems and what is shown of the host in their places. Data only.

use super::Recipe;
use crate::plan::Operation;
use crate::rootfs::{Kind, detached};
use crate::{Bind, Error, Result};
use leanbox_launcher::wire::{OpKind, TREES, TREES_MAX, Tree};
use leanbox_sys::mount::{ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY};
use rustix::mount::OpenTreeFlags;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

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
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

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

/// Detached copies of the binds' sources.
pub(crate) fn bind_trees(recipe: &Recipe) -> Result<Vec<OwnedFd>> {
    let open = |bind: &Bind| {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        rustix::mount::open_tree(rustix::fs::CWD, &bind.source, flags).map_err(|errno| {
            Error::syscall(format!("open_tree({:?})", bind.source.display()), errno).during("bind")
        })
    };
    if recipe.binds.len() > TREES_MAX / 3 {
        return Err(Error::invalid(format!(
            "{} binds: at most {}",
            recipe.binds.len(),
            TREES_MAX / 3
        )));
    }
    recipe.binds.iter().map(open).collect()
}

pub(super) fn tree_list(recipe: &Recipe, idmap: bool) -> Result<Vec<Tree>> {
    let idmap = u32::from(idmap);
    let mut list = match recipe.rootfs.kind() {
        Kind::Folder { .. } => {
            vec![Tree { attributes: ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV, idmap, file: 0 }]
        }
        Kind::Overlay { lower, .. } => {
            vec![Tree { attributes: ATTR_NODEV, idmap, file: 0 }; lower.len() + 1]
        }
    };
    for bind in &recipe.binds {
        let stat = rustix::fs::stat(&bind.source)
            .map_err(|errno| Error::syscall(format!("stat({:?})", bind.source), errno))?;
        let file =
            rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Directory;
        let read_only = if bind.read_only { ATTR_RDONLY } else { 0 };
        let attributes = ATTR_NOSUID | ATTR_NODEV | read_only;
        list.push(Tree { attributes, idmap: 0, file: u32::from(file) });
    }
    Ok(list)
}

/// The root, with `/dev` and `/proc` in it, and the pivot into it. A new proc can only be
/// mounted while the keeper's is in sight, so before the pivot.
pub(super) fn root_operations(recipe: &Recipe) -> Vec<Operation> {
    let mut ops = match recipe.rootfs.kind() {
        Kind::Folder { .. } => vec![Operation::attach(0, "/new")],
        Kind::Overlay { lower, .. } => overlay_operations(lower.len()),
    };
    ops.push(Operation::path(OpKind::Chdir, "/new"));
    if matches!(recipe.rootfs.kind(), Kind::Overlay { .. }) {
        ops.extend(["proc", "dev", "tmp"].map(|name| Operation::path(OpKind::EnsureDir, name)));
    }
    ops.push(Operation::bind("/dev", "dev", false));
    let attributes = ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC;
    ops.push(Operation::filesystem("proc", "proc", &[], attributes));
    ops.push(Operation::plain(OpKind::Pivot));
    ops
}

fn overlay_operations(lower: usize) -> Vec<Operation> {
    let mut ops: Vec<Operation> =
        (0..=lower).map(|tree| Operation::attach(tree, &format!("{TREES}{tree}"))).collect();
    let layers: Vec<String> = (1..=lower).map(|tree| format!("{TREES}{tree}")).collect();
    let (upper, work) = (format!("{TREES}0/diff"), format!("{TREES}0/work"));
    let options = [
        ("lowerdir", layers.join(":")),
        ("upperdir", upper),
        ("workdir", work),
        ("userxattr", String::new()),
    ];
    let options: Vec<(&str, &str)> =
        options.iter().map(|(key, value)| (*key, value.as_str())).collect();
    ops.push(Operation::filesystem("overlay", "/new", &options, ATTR_NODEV));
    ops
}

/// The same kernel runs inside, so what is missing here is missing there.
pub(super) fn proc_operations() -> impl Iterator<Item = Operation> {
    let here = |path: &&str| Path::new(path).exists();
    let files = MASKED_FILES.into_iter().filter(here);
    let folders = MASKED_FOLDERS.into_iter().filter(here);
    files
        .map(|path| Operation::bind("/dev/null", path, true))
        .chain(folders.map(|path| Operation::bind("/dev/mqueue", path, true)))
        .chain(READ_ONLY.into_iter().map(|path| Operation::path(OpKind::ReadOnly, path)))
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

pub(super) fn bind_operations(recipe: &Recipe) -> Result<Vec<Operation>> {
    let first = match recipe.rootfs.kind() {
        Kind::Folder { .. } => 1,
        Kind::Overlay { lower, .. } => lower.len() + 1,
    };
    let mut ops = Vec::new();
    for (index, bind) in recipe.binds.iter().enumerate() {
        let target =
            bind.target.to_str().filter(|_| bind.target.is_absolute()).ok_or_else(|| {
                Error::invalid(format!("bind target {:?}: not an absolute path", bind.target))
            })?;
        if bind.target.components().any(|part| part == Component::ParentDir) {
            return Err(Error::invalid(format!("bind target {target:?}: it has \"..\" in it")));
        }
        if matches!(recipe.rootfs.kind(), Kind::Overlay { .. }) {
            ops.extend(ensure_target(bind, target));
        }
        ops.push(Operation::attach(first + index, target));
    }
    Ok(ops)
}

fn ensure_target(bind: &Bind, target: &str) -> Vec<Operation> {
    let folders = bind.target.ancestors().skip(1).filter(|folder| folder.parent().is_some());
    let mut ops: Vec<Operation> = folders
        .filter_map(|folder| folder.to_str())
        .map(|folder| Operation::path(OpKind::EnsureDir, folder))
        .collect();
    ops.reverse();
    let kind = if bind.source.is_dir() { OpKind::EnsureDir } else { OpKind::EnsureFile };
    ops.push(Operation::path(kind, target));
    ops
}
