//! The tools that are compared: their names, and what each has at each level. Data only.
//!
//! What a tool has is a claim that the tests check with a probing program.

use super::level::{Feature, Level};

/// A tool that starts containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// This one.
    Leanbox,
    /// An OCI runtime in C.
    Crun,
    /// The OCI runtime of Docker, in Go.
    Runc,
    /// An OCI runtime in Rust.
    Youki,
    /// bubblewrap.
    Bwrap,
    /// unshare(1) of util-linux.
    Unshare,
    /// The sandbox of programming contests.
    Isolate,
    /// Landlock and seccomp without namespaces.
    Sandlock,
    /// An engine without a daemon, on crun or runc.
    Podman,
    /// An engine with a daemon.
    Docker,
}

impl Tool {
    /// All tools, leanbox first.
    pub const ALL: [Self; 10] = [
        Self::Leanbox,
        Self::Crun,
        Self::Runc,
        Self::Youki,
        Self::Bwrap,
        Self::Unshare,
        Self::Isolate,
        Self::Sandlock,
        Self::Podman,
        Self::Docker,
    ];

    /// Its command's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Leanbox => "leanbox",
            Self::Crun => "crun",
            Self::Runc => "runc",
            Self::Youki => "youki",
            Self::Bwrap => "bwrap",
            Self::Unshare => "unshare",
            Self::Isolate => "isolate",
            Self::Sandlock => "sandlock",
            Self::Podman => "podman",
            Self::Docker => "docker",
        }
    }

    /// The tool of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// What its containers have at a level, in the way they are started here.
    #[must_use]
    pub fn features(self, level: Level) -> Vec<Feature> {
        let asked = level.features();
        let full = level == Level::Full;
        let namespaces = Level::Namespaces.features();
        let (but, also): (&[Feature], &[Feature]) = match self {
            Self::Leanbox => return Level::Full.features().to_vec(),
            Self::Crun | Self::Runc | Self::Youki | Self::Podman => (&[], &[]),
            Self::Docker => (&[Feature::User], &[]),
            Self::Bwrap => (&[Feature::Memory, Feature::Pids], &[Feature::NoNewPrivileges]),
            Self::Unshare => {
                let also: &[Feature] = if full { &[Feature::User] } else { &[] };
                let has = namespaces.iter().filter(|one| **one != Feature::Pivot);
                return has.chain(also).copied().collect();
            }
            Self::Isolate => return isolate(level),
            Self::Sandlock => return sandlock(level),
        };
        let mut has: Vec<Feature> =
            asked.iter().filter(|one| !but.contains(one)).copied().collect();
        has.extend(also.iter().filter(|one| !asked.contains(one)));
        has
    }

    /// What a level asks for and this tool lacks.
    #[must_use]
    pub fn lacks(self, level: Level) -> Vec<Feature> {
        let has = self.features(level);
        level.features().iter().filter(|one| !has.contains(one)).copied().collect()
    }

    /// What this tool has beyond what a level asks for.
    #[must_use]
    pub fn beyond(self, level: Level) -> Vec<Feature> {
        let asked = level.features();
        self.features(level).into_iter().filter(|one| !asked.contains(one)).collect()
    }

    /// What else a reader has to know of how it is started here.
    #[must_use]
    pub fn note(self, level: Level) -> Option<&'static str> {
        match (self, level) {
            (Self::Leanbox, _) => Some("always with everything"),
            (Self::Runc | Self::Youki | Self::Docker, Level::Namespaces) => {
                Some("makes cgroups all the same")
            }
            (Self::Isolate, _) => Some("in a box made before, not counted"),
            (Self::Sandlock, Level::Namespaces) => Some("a deny-list of its own as filter"),
            (Self::Sandlock, _) => {
                Some("limits without a cgroup; a deny-list of its own as filter")
            }
            (Self::Podman, _) => Some("on a copy of the root"),
            (Self::Docker, _) => Some("on an image of the root"),
            _ => None,
        }
    }
}

/// isolate(1): as an ordinary user in a chroot; its bounding set is left as it was.
fn isolate(level: Level) -> Vec<Feature> {
    let mut has = vec![Feature::Pid, Feature::Mount, Feature::Ipc, Feature::Network];
    if level >= Level::Limits {
        has.extend([Feature::Memory, Feature::Pids]);
    }
    has.extend([Feature::NoCapabilities, Feature::ReadOnlyRoot]);
    has
}

/// Landlock and a supervisor instead of namespaces and cgroups, always with a filter.
fn sandlock(level: Level) -> Vec<Feature> {
    let mut has = vec![Feature::Filter, Feature::NoNewPrivileges, Feature::ReadOnlyRoot];
    if level >= Level::Limits {
        has.extend([Feature::Memory, Feature::Pids]);
    }
    has
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leanbox_and_the_oci_runtimes_lack_nothing_at_any_level() {
        let complete = |tool: &Tool| Level::ALL.iter().all(|level| tool.lacks(*level).is_empty());
        let complete: Vec<Tool> = Tool::ALL.into_iter().filter(complete).collect();
        let expected = [Tool::Leanbox, Tool::Crun, Tool::Runc, Tool::Youki, Tool::Podman];
        assert_eq!(complete, expected);
    }

    #[test]
    fn what_a_tool_has_beyond_a_level_is_said_of_leanbox_too() {
        let beyond = Tool::Leanbox.beyond(Level::Namespaces);
        assert!(beyond.contains(&Feature::Memory) && beyond.contains(&Feature::Filter));
        assert!(Tool::Leanbox.beyond(Level::Full).is_empty());
        assert_eq!(Tool::Bwrap.beyond(Level::Limits), [Feature::NoNewPrivileges]);
        assert_eq!(Tool::Bwrap.lacks(Level::Full), [Feature::Memory, Feature::Pids]);
    }

    #[test]
    fn a_tool_is_found_by_its_name() {
        for tool in Tool::ALL {
            assert_eq!(Tool::named(tool.name()), Some(tool));
        }
        assert_eq!(Tool::named("chroot"), None);
    }
}
