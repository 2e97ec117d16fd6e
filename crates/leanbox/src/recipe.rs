//! From what a template was asked for to its plan: which trees, which operations, in which
//! order. Data only; the launcher carries it out.

mod limits;
mod mounts;
mod shown;

use crate::filter::Filter;
use crate::identity::Identity;
use crate::plan::{Operation, Plan};
use crate::rootfs::Kind;
use crate::security::Rights;
use crate::{
    Bind, Capability, Device, Error, Limits, Network, Policy, Result, Rootfs, Security, Tmpfs,
    owner, probe, userns,
};
use leanbox_launcher::wire::OpKind;
use leanbox_sys::process::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS,
};
pub(crate) use mounts::trees;
use mounts::{root_operations, scratch_operations, tree_list};
use rustix::fs::OFlags;
pub(crate) use shown::{bind_trees, check_unmapped};
use shown::{nodes, shown_operations, terminal_operations};

/// What a template was asked for.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) rootfs: Rootfs,
    pub(crate) limits: Limits,
    pub(crate) user: Option<String>,
    pub(crate) rights: Rights,
    pub(crate) network: Network,
    pub(crate) binds: Vec<Bind>,
    pub(crate) tmpfs: Vec<Tmpfs>,
    pub(crate) devices: Vec<Device>,
    pub(crate) writable: Option<u64>,
    pub(crate) terminal: bool,
    pub(crate) hostname: String,
    pub(crate) tmp: bool,
    pub(crate) policy: Policy,
    pub(crate) idmap: bool,
    pub(crate) ahead: bool,
    /// Whether slots have resource groups; without, nothing limits memory and CPU.
    pub(crate) groups: bool,
    /// Whether slots join the hierarchies too that no limit asks for.
    pub(crate) updatable: bool,
}

impl Recipe {
    pub(crate) fn new(rootfs: Rootfs) -> Self {
        Self {
            rootfs,
            limits: Limits::default(),
            user: None,
            rights: Rights::default(),
            network: Network::None,
            binds: Vec::new(),
            tmpfs: Vec::new(),
            devices: Vec::new(),
            writable: None,
            terminal: false,
            hostname: "leanbox".into(),
            tmp: true,
            policy: Policy::Once,
            idmap: probe::maps_ids(),
            ahead: false,
            groups: true,
            updatable: false,
        }
    }

    /// Whether slots serve one after the other in network namespaces of the keeper's: not with
    /// capabilities, which hold over a namespace of the slot's own only, and not with another
    /// filter, under which a run could use protocols of which the keeper does not look at the
    /// traces.
    fn leases_net(&self) -> bool {
        self.network.is_made_inside()
            && self.rights.capabilities().is_empty()
            && self.rights.has_own_profile()
            && !crate::probe::is_off("net_lease")
    }

    /// Limits of a slot's group. It is given one process more, for the launcher; in shared
    /// namespaces there is none in it.
    pub(crate) fn group_limits(&self) -> Limits {
        let without = u32::from(self.policy == Policy::Shared);
        Limits { pids_max: self.limits.pids_max - without, ..self.limits.clone() }
    }

    /// A slot serves again only where the reset sees all that a run can leave: not addresses,
    /// mounts or a host name that a capability lets it set, nor keys or sockets that only another
    /// filter lets it make, nor files of a writable root. In namespaces that all share, these would
    /// be altered for all, and `CAP_KILL` or `CAP_SYS_PTRACE` reach what is of other users: who
    /// waits for a start, and who parks it.
    pub(crate) fn check_policy(&self) -> Result<()> {
        limits::check(self)?;
        if self.policy == Policy::Once {
            return Ok(());
        }
        if !self.groups {
            let text = "a policy other than once without resource groups: what a run leaves running \
                        is found by them";
            return Err(Error::invalid(text).remedy("use policy once"));
        }
        let rights = &self.rights;
        let what = match (rights.capabilities().first(), self.rootfs.kind()) {
            _ if rights.security == Security::Docker => "the docker profile".to_string(),
            (Some(capability), _) => capability.to_string(),
            _ if !rights.has_own_profile() => "another seccomp profile".to_string(),
            (None, Kind::Overlay { .. }) => "a writable root".to_string(),
            _ if self.writable.is_some() => "a writable root".to_string(),
            _ if self.terminal => "a terminal".to_string(),
            (None, Kind::Folder { .. }) => match self.mount_to_reset()? {
                Some(target) if self.policy == Policy::Reuse => format!("a mount at {target}"),
                _ => return Ok(()),
            },
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

/// The whole plan. `idmap`: the root's trees get each slot's ids.
pub(crate) fn plan(recipe: &Recipe, identity: Identity, idmap: bool) -> Result<Plan> {
    let capabilities = recipe.rights.capabilities();
    let held = mask(&capabilities);
    let filter = recipe.rights.filter(&capabilities)?;
    let mut namespaces = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC;
    if recipe.network.is_made_inside() {
        namespaces |= CLONE_NEWNET;
    }
    let workdir = match recipe.rootfs.config().working_dir.as_str() {
        "" => "/".to_string(),
        dir => dir.to_string(),
    };
    let uid = identity.uid;
    Ok(Plan {
        namespaces,
        held,
        identity,
        hostname: recipe.hostname.clone(),
        workdir,
        id_maps: if owner::has_blocks() { None } else { Some(userns::shared_maps()?) },
        reuse: recipe.policy == Policy::Reuse,
        shared: recipe.policy == Policy::Shared,
        leases_net: recipe.leases_net(),
        given_net: recipe.network.is_given(),
        reports_end: !crate::probe::kernel_tells_ends(),
        terminal: recipe.terminal,
        locks_trees: capabilities.contains(&Capability::SysAdmin),
        nodes: nodes(recipe)?,
        trees: tree_list(recipe, idmap)?,
        rlimits: limits::of_container(recipe),
        slot: slot_operations(recipe, held, uid, filter.as_ref())?,
        filter: filter.map(|filter| filter.program).unwrap_or_default(),
        holder: holder_operations(recipe)?,
    })
}

fn mask(capabilities: &[Capability]) -> u64 {
    capabilities.iter().fold(0, |mask, capability| mask | 1 << capability.number())
}

fn slot_operations(
    recipe: &Recipe,
    held: u64,
    uid: u32,
    filter: Option<&Filter>,
) -> Result<Vec<Operation>> {
    let mut ops = Vec::new();
    if recipe.network.is_made_inside() && !recipe.leases_net() {
        ops.push(Operation::plain(OpKind::LoopbackUp));
    }
    ops.push(Operation::plain(OpKind::AwaitIds));
    ops.extend(root_operations(recipe));
    let [tmp, shm] = scratch_operations(recipe.limits.tmp_max_bytes);
    ops.extend(recipe.tmp.then_some(tmp).into_iter().chain([shm]));
    ops.extend(terminal_operations(recipe, uid));
    ops.extend(shown_operations(recipe)?);
    // On v2 the launcher is born in its group. On v1 it joins when its mounts are made: what the
    // kernel keeps of those is the host's, and charging it would take longer than joining does.
    ops.push(Operation::plain(OpKind::AwaitWarming));
    ops.push(Operation::plain(OpKind::JoinGroups));
    // After joining, so that the group is the root of what is seen.
    ops.push(Operation::number(OpKind::Unshare, CLONE_NEWCGROUP));
    ops.extend(limits::operations(recipe));
    ops.push(Operation::number(OpKind::DropBounding, held));
    let launcher = held | mask(&LAUNCHER_CAPABILITIES);
    ops.push(Operation::number(OpKind::BecomeLauncher, launcher));
    // Elsewhere abstract sockets are the slot's own, as its network is.
    if recipe.network.is_of_others() && probe::scopes_sockets() {
        ops.push(Operation::plain(OpKind::ScopeSockets));
    }
    ops.extend(filter.map(|filter| Operation::number(OpKind::Filter, filter.flags)));
    if recipe.policy == Policy::Reuse {
        ops.extend(trace_operations(recipe));
    }
    if recipe.terminal {
        ops.push(Operation::path(OpKind::Terminal, "/dev/pts/ptmx"));
    }
    Ok(ops)
}

/// What the host looks at to know whether a run left anything.
fn trace_operations(recipe: &Recipe) -> Vec<Operation> {
    let folder = (OFlags::RDONLY | OFlags::DIRECTORY).bits();
    let mut ops: Vec<Operation> =
        ["/tmp", "/dev/shm"].map(|path| Operation::open_for_host(path, folder)).into();
    let mut files = vec!["/proc/sysvipc/shm", "/proc/sysvipc/sem", "/proc/sysvipc/msg"];
    if !recipe.network.is_of_others() {
        files.push("/proc/self/net/dev");
    }
    ops.extend(files.into_iter().map(|path| Operation::open_for_host(path, 0)));
    ops
}

/// The cached namespaces of the fork mode: the same root, entered ahead.
fn holder_operations(recipe: &Recipe) -> Result<Vec<Operation>> {
    let is_plain = matches!(recipe.rootfs.kind(), Kind::Folder { .. });
    if !is_plain || recipe.writable.is_some() || recipe.terminal {
        return Ok(Vec::new());
    }
    let mut ops = Vec::new();
    if recipe.network.is_made_inside() {
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
    ops.extend(shown_operations(recipe)?);
    Ok(ops)
}
