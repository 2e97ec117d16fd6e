//! How much a container may do: whose defaults, which capabilities, which seccomp profile.
//!
//! In: what the template was asked for. Out: the capabilities and the filter. Never: applies them.

use crate::filter::{Filter, Profile};
use crate::{Capability, Result};

/// Whose defaults: the library's own, or those that images are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// No capability, and socket families that code in a box needs. The default.
    #[default]
    Strict,
    /// Docker's fourteen capabilities ([`Capability::DOCKER_DEFAULT`]), in the slot's own user
    /// namespace, and the system calls of its default seccomp profile, with more socket families.
    ///
    /// Stricter than Docker all the same: set-id programs give nothing (`no_new_privs`, `nosuid`),
    /// since what an image brings along is not to decide who is root inside; 32-bit calls are
    /// killed; nobody types into a terminal (`TIOCSTI`) or holds a lease on a file, which
    /// containers have in common here.
    Docker,
}

/// What a template was asked for.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    pub(crate) security: Security,
    pub(crate) added: Vec<Capability>,
    pub(crate) dropped: Vec<Capability>,
    /// All that `security` brings along is dropped.
    pub(crate) drops_all: bool,
    /// Instead of that of `security`.
    pub(crate) profile: Option<Profile>,
}

impl Security {
    /// What it brings along (unless all of it is dropped), and what is added, without what is
    /// dropped by its name; in the kernel's order.
    #[must_use]
    pub fn capabilities(
        self,
        added: &[Capability],
        dropped: &[Capability],
        drops_all: bool,
    ) -> Vec<Capability> {
        let brought = match self {
            Self::Docker if !drops_all => Capability::DOCKER_DEFAULT,
            _ => &[],
        };
        let mut held = [brought, added].concat();
        held.retain(|one| !dropped.contains(one));
        held.sort_unstable();
        held.dedup();
        held
    }
}

impl Rights {
    pub(crate) fn capabilities(&self) -> Vec<Capability> {
        self.security.capabilities(&self.added, &self.dropped, self.drops_all)
    }

    pub(crate) fn profile(&self) -> Profile {
        self.profile.clone().unwrap_or_else(|| self.security.into())
    }

    /// Whether system calls are decided by the library's own profile.
    pub(crate) fn has_own_profile(&self) -> bool {
        match &self.profile {
            Some(profile) => profile.is_strict(),
            None => self.security == Security::Strict,
        }
    }

    pub(crate) fn filter(&self, capabilities: &[Capability]) -> Result<Option<Filter>> {
        self.profile().compile(capabilities)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Capability::{Chown, Kill, NetAdmin, SysTime};

    fn held(rights: Rights) -> Vec<Capability> {
        rights.capabilities()
    }

    #[test]
    fn strict_has_what_was_added_and_docker_its_fourteen_too() {
        let added = vec![NetAdmin, Chown, NetAdmin];
        assert_eq!(held(Rights { added: added.clone(), ..Rights::default() }), [Chown, NetAdmin]);
        let docker = held(Rights { added, security: Security::Docker, ..Rights::default() });
        assert_eq!(docker.len(), 15);
        assert!(docker.is_sorted());
    }

    #[test]
    fn what_is_dropped_by_name_is_gone_even_if_it_was_added() {
        let security = Security::Docker;
        let dropped = vec![Kill, SysTime];
        let added = vec![SysTime];
        let held = held(Rights { security, added, dropped, ..Rights::default() });
        assert_eq!(held.len(), 13);
        assert!(!held.contains(&Kill) && !held.contains(&SysTime));
    }

    #[test]
    fn dropping_all_leaves_what_was_added() {
        let rights = Rights { security: Security::Docker, drops_all: true, ..Rights::default() };
        assert_eq!(held(Rights { added: vec![Chown], ..rights }), [Chown]);
    }
}
