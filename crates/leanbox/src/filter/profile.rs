//! Which seccomp profile: the library's own decisions, those of a file, or none at all.

use super::oci;
use super::policy::Policy;
use super::{Filter, launcher, table};
use crate::{Capability, Error, Result, Security};
use std::str::FromStr;

/// What system calls a container may make (seccomp(2)).
///
/// One is read from JSON by [`str::parse`], in the form of the OCI runtime specification
/// (config-linux.md, "Seccomp") and of Docker, with `archMap`, `includes` and `excludes`:
///
/// - Where several rules of a call hold, the strictest counts, as among the kernel's filters. (In
///   libseccomp one without arguments swallows those with arguments.)
/// - A call newer than all that the profile names looks absent (`ENOSYS`) where the profile refuses
///   by default, as with runc; so does any number that no call has.
/// - Names that this processor has no call for are ignored, as with runc; see
///   [`unknown_names`](Self::unknown_names).
/// - Calls of other architectures (32-bit, x32) do not pass, whatever `architectures` says.
/// - `SCMP_ACT_TRACE`, `SCMP_ACT_NOTIFY` and unknown fields are refused.
#[derive(Debug, Clone)]
pub struct Profile(Kind);

#[derive(Debug, Clone)]
enum Kind {
    BuiltIn(Security),
    Unconfined,
    File(Box<oci::File>),
}

impl Profile {
    /// No filter at all: every call that the kernel has is in reach, and with `unshare(2)` the
    /// code behind namespaces, mounts and network devices too.
    #[must_use]
    pub fn unconfined() -> Self {
        Self(Kind::Unconfined)
    }

    /// Names in it that no call of this processor has, sorted: perhaps another one's, perhaps
    /// mistakes.
    #[must_use]
    pub fn unknown_names(&self) -> Vec<&str> {
        match &self.0 {
            Kind::File(file) => file.unknown_names(),
            _ => Vec::new(),
        }
    }

    /// What it comes to for a container with these capabilities, as JSON that reads back as the
    /// same; `None` for [`unconfined`](Self::unconfined).
    ///
    /// # Errors
    /// None that reading the profile would not have met.
    pub fn to_json(&self, capabilities: &[Capability]) -> Result<Option<String>> {
        Ok(self.policy(capabilities)?.as_ref().map(oci::write))
    }

    /// The same for people: a line for each call.
    ///
    /// # Errors
    /// As [`to_json`](Self::to_json).
    pub fn to_table(&self, capabilities: &[Capability]) -> Result<Option<String>> {
        Ok(self.policy(capabilities)?.as_ref().map(oci::table))
    }

    /// Whether it is the library's own, the default.
    pub(crate) fn is_strict(&self) -> bool {
        matches!(self.0, Kind::BuiltIn(Security::Strict))
    }

    /// The decisions; `None` where there is no filter.
    pub(crate) fn policy(&self, caps: &[Capability]) -> Result<Option<Policy>> {
        match &self.0 {
            Kind::BuiltIn(security) => Ok(Some(table::policy(*security, caps))),
            Kind::Unconfined => Ok(None),
            Kind::File(file) => file.policy(caps).map(Some),
        }
    }

    /// The program for the kernel; `None` where there is none.
    pub(crate) fn compile(&self, caps: &[Capability]) -> Result<Option<Filter>> {
        let Some(policy) = self.policy(caps)? else { return Ok(None) };
        if matches!(self.0, Kind::File(_)) {
            launcher::check(&policy)?;
        }
        super::compile(&policy).map(Some)
    }
}

impl From<Security> for Profile {
    fn from(security: Security) -> Self {
        Self(Kind::BuiltIn(security))
    }
}

impl FromStr for Profile {
    type Err = Error;

    /// Reads JSON.
    ///
    /// # Errors
    /// It is no such JSON, or has something in it that is not known or cannot be done; the line
    /// says where.
    fn from_str(text: &str) -> Result<Self> {
        oci::parse(text)
            .map(|file| Self(Kind::File(Box::new(file))))
            .map_err(|error| error.during("seccomp profile"))
    }
}
