//! What the containers of a template have in common with each other.

/// Whether a slot serves once or again, or shares its namespaces with all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// A fresh slot for every start, thrown away after. The default.
    #[default]
    Once,
    /// A slot serves again after a reset: for containers that trust each other. Not with added
    /// capabilities or a writable root, by which a run can leave what no reset sees.
    Reuse,
    /// Weak: all containers of a template in one set of namespaces (pid, mount, UTS, IPC, network,
    /// user, cgroup), as in the original lean container. For code that trusts what runs beside it:
    ///
    /// - They can see each other's processes and what groups these are in, and signal, trace and
    ///   alter those of the same user, which they mostly are of.
    /// - They share `/tmp`, `/dev/shm` and their size, System V and POSIX IPC, the network with its
    ///   loopback services and abstract sockets. What one leaves there the next finds, until the
    ///   template ends.
    /// - They share user ids, and what the kernel counts for each.
    ///
    /// Each still has limits of its own for memory, processes and CPU, a session and streams; when
    /// it ends, what it left running is killed, and nobody else. The root is read-only. Added
    /// capabilities and a writable root are refused: they would be every container's.
    Shared,
}
