//! What the benchmark and its floors' process say to each other.

/// The most durations one floor request measures.
pub const FLOOR_SAMPLES_MAX: usize = 16 * 1024;

/// What a floor measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum FloorKind {
    /// `clone(CLONE_VM | CLONE_VFORK)`, exit, wait.
    Vfork = 1,
    /// The same with an execve(2) of the program in the text.
    VforkExec,
    /// fork(2), exit, wait.
    Fork,
    /// The original's critical path; texts: root, then `cgroup.procs` files.
    Classic,
    /// The fork mode's; descriptors: the namespaces' process, the v2 group, `tasks` files.
    ForkInto,
}

/// A request to the floor role.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct FloorRequest {
    /// A [`FloorKind`].
    pub kind: u32,
    /// How many durations.
    pub count: u32,
    /// [`FloorKind::ForkInto`]: which namespaces.
    pub namespaces: u64,
    /// [`FloorKind::ForkInto`]: 1 if a v2 group comes along.
    pub into_group: u64,
    /// NUL-terminated texts, ended by an empty one.
    pub texts: [u8; 4096],
}

impl Default for FloorRequest {
    fn default() -> Self {
        Self { kind: 0, count: 0, namespaces: 0, into_group: 0, texts: [0; 4096] }
    }
}

/// The floor's answer.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct FloorReply {
    /// 0, or why it stopped.
    pub errno: i32,
    /// How many durations there are.
    pub count: u32,
}
