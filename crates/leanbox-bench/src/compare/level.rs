//! What is compared: properties of a container, and the three levels they make up. Data only.

use serde::Serialize;

/// What a container has or lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// A process id namespace.
    Pid,
    /// A mount namespace.
    Mount,
    /// A host name of its own.
    Uts,
    /// System V and POSIX IPC of its own.
    Ipc,
    /// A network namespace with a loopback device at most.
    Network,
    /// A cgroup namespace.
    Cgroup,
    /// A root that is a mount of its own: pivot_root(2), not chroot(2).
    Pivot,
    /// At most 512 MiB of memory.
    Memory,
    /// At most 256 processes.
    Pids,
    /// A seccomp filter.
    Filter,
    /// A user namespace.
    User,
    /// No capability.
    NoCapabilities,
    /// prctl(PR_SET_NO_NEW_PRIVS).
    NoNewPrivileges,
    /// A root that cannot be written.
    ReadOnlyRoot,
}

/// All of them, each level's after those of the one below.
const FEATURES: [Feature; 14] = [
    Feature::Pid,
    Feature::Mount,
    Feature::Uts,
    Feature::Ipc,
    Feature::Network,
    Feature::Cgroup,
    Feature::Pivot,
    Feature::Memory,
    Feature::Pids,
    Feature::Filter,
    Feature::User,
    Feature::NoCapabilities,
    Feature::NoNewPrivileges,
    Feature::ReadOnlyRoot,
];

impl Feature {
    /// Its name in a row.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pid => "pid namespace",
            Self::Mount => "mount namespace",
            Self::Uts => "uts namespace",
            Self::Ipc => "ipc namespace",
            Self::Network => "network namespace",
            Self::Cgroup => "cgroup namespace",
            Self::Pivot => "pivot_root",
            Self::Memory => "memory limit",
            Self::Pids => "pids limit",
            Self::Filter => "seccomp filter",
            Self::User => "user namespace",
            Self::NoCapabilities => "dropped capabilities",
            Self::NoNewPrivileges => "no_new_privs",
            Self::ReadOnlyRoot => "read-only root",
        }
    }
}

/// What everybody is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Namespaces and a root of its own.
    Namespaces,
    /// And leanbox's default limits in a cgroup.
    Limits,
    /// And filter, user namespace, no capabilities, read-only root.
    Full,
}

impl Level {
    /// All levels.
    pub const ALL: [Self; 3] = [Self::Namespaces, Self::Limits, Self::Full];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Limits => "limits",
            Self::Full => "full",
        }
    }

    /// The level of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// What it asks for, in a line.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Namespaces => "pid, mount, uts, ipc, network, cgroup namespaces, own root",
            Self::Limits => "namespaces + 512 MiB, 256 processes in a cgroup",
            Self::Full => "limits + filter, user namespace, no capabilities, read-only root",
        }
    }

    /// What it asks for.
    #[must_use]
    pub fn features(self) -> &'static [Feature] {
        let count = match self {
            Self::Namespaces => 7,
            Self::Limits => 9,
            Self::Full => FEATURES.len(),
        };
        &FEATURES[..count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_asks_for_what_the_one_below_asks_for_and_more() {
        for pair in Level::ALL.windows(2) {
            let (below, above) = (pair[0].features(), pair[1].features());
            assert!(above.starts_with(below) && above.len() > below.len());
        }
        assert_eq!(Level::Namespaces.features().last(), Some(&Feature::Pivot));
        assert_eq!(Level::Limits.features().last(), Some(&Feature::Pids));
    }

    #[test]
    fn a_level_is_found_by_its_name() {
        assert_eq!(Level::named("limits"), Some(Level::Limits));
        assert_eq!(Level::named("most"), None);
    }
}
