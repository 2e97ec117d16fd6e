//! The plan of a template: the list of operations that make a slot, as plain data, and its
//! layout in memory for keeper and launcher. In: what the template decided. Out: bytes, and
//! the words for an operation that failed. Nothing is carried out here.

use crate::filter::Instruction;
use crate::identity::Identity;
use leanbox_launcher::wire::{Node, Op, OpKind, PlanHeader, Rlimit, Step, Table, Tree, bytes_of};
use rustix::io::Errno;

/// Everything that decides how slots of a template are made.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) namespaces: u64,
    pub(crate) held: u64,
    pub(crate) identity: Identity,
    pub(crate) hostname: String,
    pub(crate) workdir: String,
    /// Lines of uid_map and gid_map where all slots have the same ids.
    pub(crate) id_maps: Option<[String; 2]>,
    pub(crate) reuse: bool,
    pub(crate) shared: bool,
    pub(crate) leases_net: bool,
    pub(crate) reports_end: bool,
    pub(crate) terminal: bool,
    pub(crate) locks_trees: bool,
    pub(crate) given_net: bool,
    pub(crate) nodes: Vec<NodeWords>,
    pub(crate) filter: Vec<Instruction>,
    pub(crate) trees: Vec<Tree>,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) slot: Vec<Operation>,
    pub(crate) holder: Vec<Operation>,
}

/// What is made in the template's `/dev`.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeWords {
    pub(crate) path: String,
    /// Where a link leads.
    pub(crate) target: String,
    pub(crate) mode: u32,
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl NodeWords {
    pub(crate) fn at(path: &str) -> Self {
        Self { path: path.to_string(), ..Self::default() }
    }
}

/// An operation with its words.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    kind: OpKind,
    text: String,
    /// One text, or the options of a file system.
    second: Vec<(String, String)>,
    target: String,
    number: u64,
    extra: u64,
    /// The place's links are followed, inside the root.
    inside: bool,
}

impl Operation {
    fn new(kind: OpKind) -> Self {
        let (text, target) = (String::new(), String::new());
        Self { kind, text, second: Vec::new(), target, number: 0, extra: 0, inside: false }
    }

    pub(crate) fn plain(kind: OpKind) -> Self {
        Self::new(kind)
    }

    pub(crate) fn number(kind: OpKind, number: u64) -> Self {
        Self { number, ..Self::new(kind) }
    }

    pub(crate) fn path(kind: OpKind, path: &str) -> Self {
        Self { text: path.into(), ..Self::new(kind) }
    }

    pub(crate) fn attach(tree: usize, path: &str) -> Self {
        Self { number: tree as u64, ..Self::path(OpKind::AttachTree, path) }
    }

    pub(crate) fn bind(source: &str, target: &str, unless_missing: bool) -> Self {
        let number = u64::from(unless_missing);
        let second = vec![(target.to_string(), String::new())];
        Self { number, second, ..Self::path(OpKind::Bind, source) }
    }

    pub(crate) fn moving(from: &str, to: &str) -> Self {
        Self { second: vec![(to.to_string(), String::new())], ..Self::path(OpKind::Move, from) }
    }

    pub(crate) fn filesystem(
        kind: &str,
        target: &str,
        options: &[(&str, &str)],
        attributes: u64,
    ) -> Self {
        let owned = |(key, value): &(&str, &str)| ((*key).to_string(), (*value).to_string());
        let second = options.iter().map(owned).collect();
        let number = attributes;
        Self { second, target: target.into(), number, ..Self::path(OpKind::Filesystem, kind) }
    }

    pub(crate) fn read_only(path: &str, attributes: u64) -> Self {
        Self { number: attributes, ..Self::path(OpKind::ReadOnly, path) }
    }

    /// The same with the place's links followed inside the root.
    pub(crate) fn inside(self) -> Self {
        Self { inside: true, ..self }
    }

    /// `anywhere`: in what is mounted on the root, too.
    pub(crate) fn ensure_dir(folder: &str, name: &str, anywhere: bool) -> Self {
        Self::ensure(OpKind::EnsureDir, folder, name, anywhere)
    }

    pub(crate) fn ensure_file(folder: &str, name: &str, anywhere: bool) -> Self {
        Self::ensure(OpKind::EnsureFile, folder, name, anywhere)
    }

    fn ensure(kind: OpKind, folder: &str, name: &str, inside: bool) -> Self {
        let second = vec![(name.to_string(), String::new())];
        Self { second, inside, ..Self::path(kind, folder) }
    }

    pub(crate) fn rlimit(resource: u32, value: u64) -> Self {
        Self { extra: value, ..Self::number(OpKind::Rlimit, u64::from(resource)) }
    }

    pub(crate) fn open_for_host(path: &str, flags: u32) -> Self {
        Self { number: u64::from(flags), ..Self::path(OpKind::OpenForHost, path) }
    }

    /// As strace would print it.
    fn words(&self) -> String {
        let (text, second) = (&self.text, self.second.first());
        let name = second.map_or("", |(name, _)| name.as_str());
        match self.kind {
            OpKind::AttachTree if self.inside => format!("mounting a volume at {text:?} inside"),
            OpKind::AttachTree => format!("move_mount(tree {}, {text:?})", self.number),
            OpKind::Chdir => format!("chdir({text:?})"),
            OpKind::Pivot => "pivot_root(\".\", \".\")".into(),
            OpKind::Filesystem => format!("mount({text:?}, {:?}, {:?})", self.target, self.second),
            OpKind::Bind => {
                format!("mount({text:?}, {:?}, MS_BIND)", second.map_or("", |(path, _)| path))
            }
            OpKind::ReadOnly => format!("mount({text:?}, MS_REMOUNT|MS_BIND|MS_RDONLY)"),
            OpKind::Move => {
                format!("move_mount({text:?}, {:?})", second.map_or("", |(path, _)| path))
            }
            OpKind::LoopbackUp => "ioctl(SIOCSIFFLAGS, lo up)".into(),
            OpKind::AwaitWarming => "recvmsg(groups of a cold slot)".into(),
            OpKind::JoinGroups => "write(cgroup tasks, \"0\")".into(),
            OpKind::Unshare => format!("unshare({:#x})", self.number),
            OpKind::Rlimit => format!("prlimit(resource {}, {})", self.number, self.extra),
            OpKind::AwaitIds => "setresuid(0, 0, 0)".into(),
            OpKind::EnsureFile => format!("open({name:?} in {text:?}, O_CREAT)"),
            OpKind::EnsureDir => format!("mkdir({name:?} in {text:?})"),
            OpKind::DropBounding => "prctl(PR_CAPBSET_DROP)".into(),
            OpKind::BecomeLauncher => format!("capset({:#x})", self.number),
            OpKind::ScopeSockets => "landlock_restrict_self(ABSTRACT_UNIX_SOCKET)".into(),
            OpKind::Filter => "seccomp(SECCOMP_SET_MODE_FILTER)".into(),
            OpKind::OpenForHost => format!("open({text:?})"),
            OpKind::Terminal => format!("new terminal of {text:?}"),
        }
    }
}

impl Plan {
    /// What a failed step was, as strace would print it.
    pub(crate) fn words_for(&self, step: u32, holder: bool) -> String {
        let ops = if holder { &self.holder } else { &self.slot };
        if let Some(op) = step.checked_sub(Step::FIRST_OP).and_then(|at| ops.get(at as usize)) {
            return op.words();
        }
        match step {
            Step::TREE => "open_tree(CLONE), mount_setattr(IDMAP)".into(),
            Step::USER_NAMESPACE => "clone3(CLONE_NEWUSER) for mapped mounts".into(),
            Step::CLONE => format!("clone3({:#x})", self.namespaces),
            Step::ID_MAPS => "write(/proc/PID/uid_map)".into(),
            Step::NET => "unshare(CLONE_NEWNET)".into(),
            Step::ENTER => "setns(slot), new scratch".into(),
            Step::PARK => "clone(CLONE_VM)".into(),
            Step::IDENTITY => {
                format!("setresuid({0}), setresgid({1})", self.identity.uid, self.identity.gid)
            }
            Step::RECEIVE => "recvmsg(start)".into(),
            Step::JOIN => Operation::plain(OpKind::JoinGroups).words(),
            Step::TERMINAL => "ioctl(TIOCSCTTY)".into(),
            Step::LIMITS => "prlimit(ulimits)".into(),
            Step::DESCRIPTOR => "dup3(descriptor)".into(),
            Step::TELL => "sendmsg(host)".into(),
            Step::WORKDIR => format!("chdir({:?})", self.workdir),
            step => format!("keeper set-up, step {}", step.saturating_sub(Step::KEEPER) / 16),
        }
    }

    /// The plan as keeper and launcher read it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut layout = Layout { bytes: vec![0; size_of::<PlanHeader>()] };
        let [uid_map, gid_map] = match &self.id_maps {
            Some(maps) => maps.each_ref().map(|map| layout.text(map)),
            None => [0, 0],
        };
        let slot: Vec<Op> = self.slot.iter().map(|op| layout.operation(op)).collect();
        let holder: Vec<Op> = self.holder.iter().map(|op| layout.operation(op)).collect();
        let nodes: Vec<Node> = self.nodes.iter().map(|node| layout.node(node)).collect();
        let mut header = PlanHeader {
            length: 0,
            namespaces: self.namespaces,
            held: self.held,
            uid_map,
            gid_map,
            slot_ops: layout.table(&slot),
            holder_ops: layout.table(&holder),
            trees: layout.table(&self.trees),
            nodes: layout.table(&nodes),
            filter: layout.table(&self.filter),
            groups: layout.table(&self.identity.groups),
            rlimits: layout.table(&self.rlimits),
            uid: self.identity.uid,
            gid: self.identity.gid,
            hostname: layout.text(&self.hostname),
            workdir: layout.text(&self.workdir),
            reuse: u32::from(self.reuse),
            leases_net: u32::from(self.leases_net),
            shared: u32::from(self.shared),
            reports_end: u32::from(self.reports_end),
            locks_trees: u32::from(self.locks_trees),
            given_net: u32::from(self.given_net),
        };
        header.length = layout.bytes.len() as u64;
        layout.bytes[..size_of::<PlanHeader>()].copy_from_slice(bytes_of(&header));
        layout.bytes
    }
}

/// Bytes that grow by tables and texts; offsets into them.
struct Layout {
    bytes: Vec<u8>,
}

/// Offsets stay far below this: every template's words together.
fn offset(length: usize) -> u32 {
    u32::try_from(length).expect("a plan has a few thousand bytes")
}

impl Layout {
    fn table<T: Copy>(&mut self, entries: &[T]) -> Table {
        let bytes: Vec<u8> = entries.iter().flat_map(bytes_of).copied().collect();
        self.raw_table(&bytes, entries.len())
    }

    fn raw_table(&mut self, bytes: &[u8], count: usize) -> Table {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let table = Table { offset: offset(self.bytes.len()), count: offset(count) };
        self.bytes.extend(bytes);
        table
    }

    fn text(&mut self, text: &str) -> u32 {
        let at = offset(self.bytes.len());
        self.bytes.extend(text.bytes().filter(|byte| *byte != 0));
        self.bytes.push(0);
        at
    }

    fn operation(&mut self, op: &Operation) -> Op {
        let text = self.text(&op.text);
        let target = self.text(&op.target);
        let text2 = offset(self.bytes.len());
        for (key, value) in &op.second {
            self.text(key);
            self.text(value);
        }
        self.bytes.push(0);
        let extra = if op.kind == OpKind::Filesystem { u64::from(target) } else { op.extra };
        let inside = u32::from(op.inside);
        Op { kind: op.kind as u32, text, text2, inside, number: op.number, extra }
    }

    fn node(&mut self, node: &NodeWords) -> Node {
        let NodeWords { mode, major, minor, .. } = *node;
        let (path, target) = (self.text(&node.path), self.text(&node.target));
        Node { path, target, mode, major, minor, unused: 0 }
    }
}

/// The error of a step, told with the plan's words.
pub(crate) fn step_error(plan: &Plan, step: u32, errno: i32, holder: bool) -> crate::Error {
    let errno = crate::error::told_errno(errno);
    let error = crate::Error::syscall(plan.words_for(step, holder), errno);
    match (step, errno) {
        (Step::USER_NAMESPACE | Step::CLONE | Step::PARK, Errno::AGAIN) => {
            error.remedy("too many processes: end some, or raise pids.max (ulimit -u)")
        }
        _ => error,
    }
}
