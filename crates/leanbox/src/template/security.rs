//! The builder's words for how much a container may do.

use super::TemplateBuilder;
use crate::{Capability, Profile, Security};

impl TemplateBuilder {
    /// Whose defaults for capabilities and system calls: the library's own, or Docker's.
    #[must_use]
    pub fn security(mut self, security: Security) -> Self {
        self.recipe.rights.security = security;
        self
    }

    /// A capability inside the container's own user namespace (capabilities(7)).
    #[must_use]
    pub fn cap_add(mut self, capability: Capability) -> Self {
        self.recipe.rights.added.push(capability);
        self
    }

    /// Takes a capability away, from what [`security`](Self::security) brings along and from what
    /// was added, in whatever order it was said.
    #[must_use]
    pub fn cap_drop(mut self, capability: Capability) -> Self {
        self.recipe.rights.dropped.push(capability);
        self
    }

    /// Takes all capabilities away that [`security`](Self::security) brings along; what is added
    /// by its name stays.
    #[must_use]
    pub fn cap_drop_all(mut self) -> Self {
        self.recipe.rights.drops_all = true;
        self
    }

    /// Another seccomp profile than that of [`security`](Self::security). It has to allow what the
    /// launcher calls to start a program; [`build`](Self::build) says what is missing. Only with
    /// [`Policy::Once`](crate::Policy::Once).
    #[must_use]
    pub fn seccomp(mut self, profile: Profile) -> Self {
        self.recipe.rights.profile = Some(profile);
        self
    }
}
