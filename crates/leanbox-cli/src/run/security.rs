//! How much the program may do: the options of `leanbox run` and `leanbox seccomp` for it.

use crate::values::{self, Capabilities};
use leanbox::{Capability, Error, Profile, Result, Security, TemplateBuilder};
use std::path::PathBuf;

/// The options.
#[derive(Debug, clap::Args)]
pub(crate) struct SecurityArgs {
    /// Whose defaults: strict (no capability), or docker (Docker's fourteen capabilities in its own
    /// user namespace, and Docker's system calls)
    #[arg(long, value_name = "PROFILE", value_parser = profile, default_value = "strict")]
    security: Security,
    /// Give it a capability inside its own user namespace: a name of capabilities(7), or ALL.
    /// May be given again
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = values::capabilities)]
    cap_add: Vec<Capabilities>,
    /// Take a capability away, even one that was added; ALL: those that --security brings along.
    /// May be given again
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = values::capabilities)]
    cap_drop: Vec<Capabilities>,
    /// System calls as in this profile, JSON as of OCI runtimes and Docker, or unconfined for no
    /// filter at all [default: those of --security; leanbox seccomp shows them]
    #[arg(long, value_name = "FILE")]
    seccomp: Option<PathBuf>,
}

fn profile(text: &str) -> Result<Security> {
    match text {
        "strict" => Ok(Security::Strict),
        "docker" => Ok(Security::Docker),
        _ => Err(Error::invalid(format!("{text:?} is not a profile"))
            .remedy("write strict or docker; --seccomp takes files")),
    }
}

impl SecurityArgs {
    /// Has containers of the template do no more than that.
    ///
    /// # Errors
    /// The profile cannot be read.
    pub(crate) fn apply(&self, builder: TemplateBuilder) -> Result<TemplateBuilder> {
        let mut builder = builder.security(self.security);
        for capability in self.cap_add.iter().flat_map(|one| one.0) {
            builder = builder.cap_add(*capability);
        }
        for dropped in &self.cap_drop {
            builder = match dropped.0 {
                [one] => builder.cap_drop(*one),
                _ => builder.cap_drop_all(),
            };
        }
        Ok(match self.file()? {
            Some(profile) => builder.seccomp(profile),
            None => builder,
        })
    }

    /// The profile in force.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn profile(&self) -> Result<Profile> {
        Ok(self.file()?.unwrap_or_else(|| self.security.into()))
    }

    /// The capabilities that it is read with.
    pub(crate) fn capabilities(&self) -> Vec<Capability> {
        let added: Vec<Capability> = self.cap_add.iter().flat_map(|one| one.0).copied().collect();
        let named = self.cap_drop.iter().filter(|one| one.0.len() == 1).flat_map(|one| one.0);
        let dropped: Vec<Capability> = named.copied().collect();
        let drops_all = self.cap_drop.iter().any(|one| one.0.len() > 1);
        self.security.capabilities(&added, &dropped, drops_all)
    }

    fn file(&self) -> Result<Option<Profile>> {
        let Some(path) = &self.seccomp else { return Ok(None) };
        if path.as_os_str() == "unconfined" {
            return Ok(Some(Profile::unconfined()));
        }
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| Error::io(format!("--seccomp {}", path.display()), &error));
        let profile = text?.parse::<Profile>();
        profile.map(Some).map_err(|error| error.during(path.display()))
    }
}
