//! From what a template was asked for to its plan: which trees, which operations, in which
//! order. Data only; the launcher carries it out.

use crate::identity::Identity;
use crate::plan::{Operation, Plan};
use crate::rootfs::{Kind, detached};
use crate::{Bind, Capability, Error, Limits, Network, Policy, Result, Rootfs, filter};
use leanbox_launcher::wire::{OpKind, TREES, TREES_MAX, Tree};
use leanbox_sys::mount::{ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY};
use leanbox_sys::process::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS,
};
use rustix::fs::OFlags;
use rustix::mount::OpenTreeFlags;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

/// What a template was asked for.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) rootfs: Rootfs,
    pub(crate) limits: Limits,
    pub(crate) user: Option<String>,
    pub(crate) capabilities: Vec<Capability>,
    pub(crate) network: Network,
    pub(crate) binds: Vec<Bind>,
    pub(crate) hostname: String,
    pub(crate) tmp: bool,
    pub(crate) policy: Policy,
    pub(crate) idmap: bool,
    pub(crate) ahead: bool,
}

impl Recipe {
    pub(crate) fn new(rootfs: Rootfs) -> Self {
        Self {
            rootfs,
            limits: Limits::default(),
            user: None,
            capabilities: Vec::new(),
            network: Network::None,
            binds: Vec::new(),
            hostname: "leanbox".into(),
            tmp: true,
            policy: Policy::Once,
            idmap: !crate::probe::is_off("idmap"),
            ahead: false,
        }
    }

    /// Whether slots serve one after the other in network namespaces of the keeper's: not with
    /// added capabilities, which hold over a namespace of the slot's own only.
    fn leases_net(&self) -> bool {
        self.network == Network::None
            && self.capabilities.is_empty()
            && !crate::probe::is_off("net_lease")
    }

    /// Limits of a slot's group. It is given one process more, for the launcher; in shared
    /// namespaces there is none in it.
    pub(crate) fn group_limits(&self) -> Limits {
        let without = u32::from(self.policy == Policy::Shared);
        Limits { pids_max: self.limits.pids_max - without, ..self.limits.clone() }
    }

    /// A slot serves again only where the reset sees all that a run can leave: not addresses,
    /// mounts or a host name that a capability lets it set, nor files of a writable root. In
    /// namespaces that all share, these would be altered for all, and `CAP_KILL` or
    /// `CAP_SYS_PTRACE` reach what is of other users: who waits for a start, and who parks it.
    pub(crate) fn check_policy(&self) -> Result<()> {
        if self.policy == Policy::Once {
            return Ok(());
        }
        let what = match (self.capabilities.first(), self.rootfs.kind()) {
            (Some(capability), _) => capability.to_string(),
            (None, Kind::Overlay { .. }) => "a writable root".to_string(),
            (None, Kind::Folder { .. }) => return Ok(()),
        };
        let text = match self.policy {
            Policy::Shared => format!("policy shared with {what}: it would be every container's"),
            _ => format!("policy reuse with {what}: the next run could find what one left"),
        };
        Err(Error::invalid(text).remedy("use policy once"))
    }
}

/// What the launcher itself needs to park a container under another identity and end it.
const LAUNCHER_CAPABILITIES: [Capability; 3] =
    [Capability::Setuid, Capability::Setgid, Capability::Kill];

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

/// setrlimit(2): what every container gets, soft and hard.
const RLIMITS: [(u32, u64); 4] = [
    (4, 0),        // RLIMIT_CORE: no core dumps
    (7, 4096),     // RLIMIT_NOFILE
    (3, 8 << 20),  // RLIMIT_STACK
    (8, 64 << 10), // RLIMIT_MEMLOCK
];
const RLIMIT_MSGQUEUE: u32 = 12;

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

/// The whole plan. `idmap`: the root's trees get each slot's ids.
pub(crate) fn plan(recipe: &Recipe, identity: Identity, idmap: bool) -> Result<Plan> {
    let held = mask(&recipe.capabilities);
    let mut namespaces = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC;
    if recipe.network == Network::None {
        namespaces |= CLONE_NEWNET;
    }
    let workdir = match recipe.rootfs.config().working_dir.as_str() {
        "" => "/".to_string(),
        dir => dir.to_string(),
    };
    Ok(Plan {
        namespaces,
        held,
        identity,
        hostname: recipe.hostname.clone(),
        workdir,
        reuse: recipe.policy == Policy::Reuse,
        shared: recipe.policy == Policy::Shared,
        leases_net: recipe.leases_net(),
        reports_end: !crate::probe::kernel_tells_ends(),
        filter: filter::compile(&recipe.capabilities),
        trees: tree_list(recipe, idmap)?,
        slot: slot_operations(recipe, held)?,
        holder: holder_operations(recipe),
    })
}

fn mask(capabilities: &[Capability]) -> u64 {
    capabilities.iter().fold(0, |mask, capability| mask | 1 << capability.number())
}

fn tree_list(recipe: &Recipe, idmap: bool) -> Result<Vec<Tree>> {
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

fn slot_operations(recipe: &Recipe, held: u64) -> Result<Vec<Operation>> {
    let mut ops = Vec::new();
    if recipe.network == Network::None && !recipe.leases_net() {
        ops.push(Operation::plain(OpKind::LoopbackUp));
    }
    ops.push(Operation::plain(OpKind::AwaitIds));
    ops.extend(root_operations(recipe));
    ops.extend(proc_operations());
    let [tmp, shm] = scratch_operations(recipe.limits.tmp_max_bytes);
    ops.extend(recipe.tmp.then_some(tmp).into_iter().chain([shm]));
    ops.extend(bind_operations(recipe)?);
    // On v2 the launcher is born in its group. On v1 it joins when its mounts are made: what the
    // kernel keeps of those is the host's, and charging it would take longer than joining does.
    ops.push(Operation::plain(OpKind::AwaitWarming));
    ops.push(Operation::plain(OpKind::JoinGroups));
    // After joining, so that the group is the root of what is seen.
    ops.push(Operation::number(OpKind::Unshare, CLONE_NEWCGROUP));
    ops.extend(limit_operations(recipe.policy));
    ops.push(Operation::number(OpKind::DropBounding, held));
    let launcher = held | mask(&LAUNCHER_CAPABILITIES);
    ops.push(Operation::number(OpKind::BecomeLauncher, launcher));
    ops.push(Operation::plain(OpKind::Filter));
    if recipe.policy == Policy::Reuse {
        ops.extend(trace_operations(recipe));
    }
    Ok(ops)
}

/// The root, with `/dev` and `/proc` in it, and the pivot into it. A new proc can only be
/// mounted while the keeper's is in sight, so before the pivot.
fn root_operations(recipe: &Recipe) -> Vec<Operation> {
    let mut ops = match recipe.rootfs.kind() {
        Kind::Folder { .. } => vec![Operation::attach(0, "/new")],
        Kind::Overlay { lower, .. } => overlay_operations(lower.len()),
    };
    ops.push(Operation::path(OpKind::Chdir, "/new"));
    if matches!(recipe.rootfs.kind(), Kind::Overlay { .. }) {
        ops.extend(["proc", "dev", "tmp"].map(|name| Operation::path(OpKind::EnsureDir, name)));
    }
    ops.push(Operation::bind("/dev", "dev", false));
    ops.push(Operation::filesystem("proc", "proc", &[], PROC_ATTRIBUTES));
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
fn proc_operations() -> impl Iterator<Item = Operation> {
    let here = |path: &&str| Path::new(path).exists();
    let files = MASKED_FILES.into_iter().filter(here);
    let folders = MASKED_FOLDERS.into_iter().filter(here);
    files
        .map(|path| Operation::bind("/dev/null", path, true))
        .chain(folders.map(|path| Operation::bind("/dev/mqueue", path, true)))
        .chain(READ_ONLY.into_iter().map(|path| Operation::read_only(path, PROC_ATTRIBUTES)))
}

fn scratch_operations(size: u64) -> [Operation; 2] {
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

fn bind_operations(recipe: &Recipe) -> Result<Vec<Operation>> {
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

/// Limits never above what this process may give (it may lack CAP_SYS_RESOURCE).
fn limit_operations(policy: Policy) -> Vec<Operation> {
    let ours = |resource| match resource {
        7 => rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
        3 => rustix::process::getrlimit(rustix::process::Resource::Stack).maximum,
        8 => rustix::process::getrlimit(rustix::process::Resource::Memlock).maximum,
        _ => None,
    };
    let bounded = |(resource, value): (u32, u64)| {
        Operation::rlimit(resource, ours(resource).map_or(value, |most| most.min(value)))
    };
    let mut ops: Vec<Operation> = RLIMITS.into_iter().map(bounded).collect();
    if policy == Policy::Reuse {
        // POSIX message queues cannot be listed without a mount, so a reused slot has none.
        ops.push(Operation::rlimit(RLIMIT_MSGQUEUE, 0));
    }
    ops
}

/// What the host looks at to know whether a run left anything.
fn trace_operations(recipe: &Recipe) -> Vec<Operation> {
    let folder = (OFlags::RDONLY | OFlags::DIRECTORY).bits();
    let mut ops: Vec<Operation> =
        ["/tmp", "/dev/shm"].map(|path| Operation::open_for_host(path, folder)).into();
    let mut files = vec!["/proc/sysvipc/shm", "/proc/sysvipc/sem", "/proc/sysvipc/msg"];
    if recipe.network == Network::None {
        files.push("/proc/self/net/dev");
    }
    ops.extend(files.into_iter().map(|path| Operation::open_for_host(path, 0)));
    ops
}

/// The cached namespaces of the fork mode: the same root, entered ahead.
fn holder_operations(recipe: &Recipe) -> Vec<Operation> {
    if !matches!(recipe.rootfs.kind(), Kind::Folder { .. }) {
        return Vec::new();
    }
    let mut ops = Vec::new();
    if recipe.network == Network::None {
        ops.push(Operation::plain(OpKind::LoopbackUp));
    }
    ops.extend([
        Operation::attach(0, "/new"),
        Operation::path(OpKind::Chdir, "/new"),
        Operation::bind("/dev", "dev", false),
        Operation::plain(OpKind::Pivot),
    ]);
    if recipe.tmp {
        ops.extend(scratch_operations(recipe.limits.tmp_max_bytes));
    }
    ops
}
