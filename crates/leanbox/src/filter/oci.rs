//! A seccomp profile as the OCI runtime specification (config-linux.md, "Seccomp") and Docker
//! write it: JSON in, a policy out.
//!
//! In: text, and the capabilities that `includes` and `excludes` ask about. Out: a policy, and the
//! names that no call of this processor has. Never: guesses: what it does not know in a profile is
//! refused, but for names of calls, which runc ignores too.

#[cfg(test)]
mod tests;
mod write;

pub(super) use write::{table, write};

use super::names;
use super::policy::{Action, Comparison, Condition, ENOSYS, EPERM, Policy, Rule, Verdict};
use crate::{Capability, Error, Result, probe};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The kernel's `MAX_ERRNO`: it makes higher ones this.
const ERRNO_MAX: u32 = 4095;

/// The file, with what Docker and Podman add to the specification.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    default_action: String,
    default_errno_ret: Option<u32>,
    default_errno: Option<String>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<Architecture>>,
    flags: Option<Vec<String>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Entry>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Architecture {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u32>,
    errno: Option<String>,
    args: Option<Vec<Argument>>,
    includes: Option<Terms>,
    excludes: Option<Terms>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Argument {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// When an entry counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Terms {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// As Docker calls this processor (as Go does), and as the kernel does.
#[cfg(target_arch = "x86_64")]
const HERE: [&str; 2] = ["amd64", "x86_64"];
#[cfg(target_arch = "aarch64")]
const HERE: [&str; 2] = ["arm64", "aarch64"];

/// What `architectures` may name. Calls of any but this processor's own are killed all the same.
const ARCHITECTURES: &str = "X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 \
    MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB";

/// Reads a profile, and finds all that is wrong with it whatever the capabilities.
pub(super) fn parse(text: &str) -> Result<File> {
    let file: File =
        serde_json::from_str(text).map_err(|error| Error::invalid(error.to_string()))?;
    if file.listener_path.is_some() || file.listener_metadata.is_some() {
        return Err(Error::invalid("listenerPath and listenerMetadata: calls cannot be handed on"));
    }
    file.check_architectures()?;
    file.flags()?;
    file.default()?;
    for (index, entry) in file.entries().iter().enumerate() {
        let checked = entry.names().and_then(|_| entry.rules(EPERM)).and_then(|_| {
            let terms = [&entry.includes, &entry.excludes].into_iter().flatten();
            terms.into_iter().try_for_each(|terms| terms.is_kernel_new_enough().map(drop))
        });
        checked.map_err(|error| error.during(format!("syscalls[{index}]")))?;
    }
    Ok(file)
}

impl File {
    fn entries(&self) -> &[Entry] {
        self.syscalls.as_deref().unwrap_or_default()
    }

    fn default_errno(&self) -> Result<u16> {
        errno(self.default_errno_ret, self.default_errno.as_deref(), EPERM)
    }

    fn default(&self) -> Result<Action> {
        let has_errno = self.default_errno_ret.is_some() || self.default_errno.is_some();
        action(&self.default_action, self.default_errno()?, has_errno)
            .map_err(|error| error.during("defaultAction"))
    }

    fn check_architectures(&self) -> Result<()> {
        if self.architectures.is_some() && self.arch_map.is_some() {
            return Err(Error::invalid("it has both architectures and archMap")
                .remedy("leave one of them out"));
        }
        let map = self.arch_map.iter().flatten();
        let mapped = map.flat_map(|one| {
            [&one.architecture].into_iter().chain(one.sub_architectures.iter().flatten())
        });
        for name in self.architectures.iter().flatten().chain(mapped) {
            let known = name.strip_prefix("SCMP_ARCH_");
            if !known.is_some_and(|name| ARCHITECTURES.split_whitespace().any(|one| one == name)) {
                return Err(Error::invalid(format!("{name:?} is not an architecture"))
                    .remedy("write one as in SCMP_ARCH_X86_64"));
            }
        }
        Ok(())
    }

    /// For seccomp(2). A launcher has one thread, so TSYNC has nothing to do.
    fn flags(&self) -> Result<u64> {
        self.flags.iter().flatten().try_fold(0, |flags, name| match name.as_str() {
            "SECCOMP_FILTER_FLAG_TSYNC" => Ok(flags),
            "SECCOMP_FILTER_FLAG_LOG" => Ok(flags | 2),
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(flags | 4),
            other => Err(Error::invalid(format!("{other:?} is not a flag that can be given"))
                .remedy("TSYNC, LOG and SPEC_ALLOW can, with SECCOMP_FILTER_FLAG_ before")),
        })
    }

    /// The policy for a container with these capabilities.
    pub(super) fn policy(&self, caps: &[Capability]) -> Result<Policy> {
        let default = self.default()?;
        let mut rules: BTreeMap<u32, Vec<Rule>> = BTreeMap::new();
        for entry in self.entries() {
            if !entry.counts(caps)? {
                continue;
            }
            let new = entry.rules(EPERM)?;
            for nr in entry.names()?.filter_map(names::number) {
                rules.entry(nr).or_default().extend(new.iter().cloned());
            }
        }
        // As runc does: programs shall take a call that the profile is too old for as absent.
        let last = rules.keys().next_back().copied().unwrap_or(0);
        let unknown = if default.allows() { default } else { Action::Errno(ENOSYS) };
        let verdict = |nr: u32| match rules.get(&nr) {
            Some(rules) => Verdict::strictest(rules, default),
            None => Verdict::from(if nr > last { unknown } else { default }),
        };
        let calls = names::calls().map(|(_, nr)| (nr, verdict(nr))).collect();
        Ok(Policy { calls, default, unknown, flags: self.flags()? })
    }

    /// Names that no call of this processor has.
    pub(super) fn unknown_names(&self) -> Vec<&str> {
        let named = self.entries().iter().filter_map(|entry| entry.names().ok()).flatten();
        let mut unknown: Vec<&str> = named.filter(|name| names::number(name).is_none()).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }
}

impl Entry {
    fn names(&self) -> Result<impl Iterator<Item = &str>> {
        let (one, several) = (self.name.as_deref().filter(|name| !name.is_empty()), &self.names);
        let several = several.as_deref().unwrap_or_default();
        match (one, several) {
            (None, []) => Err(Error::invalid("it names no call").remedy("list them in names")),
            (Some(_), [_, ..]) => Err(Error::invalid("it has both name and names")),
            (one, several) => Ok(one.into_iter().chain(several.iter().map(String::as_str))),
        }
    }

    /// Several conditions on one argument are rules of their own, one of which is enough: runc and
    /// crun read them so, since libseccomp takes only one for each argument.
    fn rules(&self, default_errno: u16) -> Result<Vec<Rule>> {
        let has_errno = self.errno_ret.is_some() || self.errno.is_some();
        let number = errno(self.errno_ret, self.errno.as_deref(), default_errno)?;
        let action = action(&self.action, number, has_errno)?;
        let args = self.args.as_deref().unwrap_or_default();
        let conditions = args.iter().map(Argument::condition).collect::<Result<Vec<_>>>()?;
        let mut seen = [false; 6];
        let twice =
            conditions.iter().any(|one| std::mem::replace(&mut seen[one.argument as usize], true));
        if twice {
            let alone = |one| Rule { conditions: vec![one], action };
            return Ok(conditions.into_iter().map(alone).collect());
        }
        Ok(vec![Rule { conditions, action }])
    }

    /// As Docker has it: all capabilities of `includes`, none of `excludes`; one of the
    /// architectures; a kernel from there on.
    fn counts(&self, caps: &[Capability]) -> Result<bool> {
        let held = |name: &String| name.parse().is_ok_and(|one: Capability| caps.contains(&one));
        let here = |name: &String| HERE.contains(&name.as_str());
        if let Some(terms) = &self.excludes {
            if terms.caps.iter().flatten().any(held)
                || terms.arches.iter().flatten().any(here)
                || terms.is_kernel_new_enough()? == Some(true)
            {
                return Ok(false);
            }
        }
        let Some(terms) = &self.includes else { return Ok(true) };
        let arches = terms.arches.as_deref().unwrap_or_default();
        Ok(terms.caps.iter().flatten().all(held)
            && (arches.is_empty() || arches.iter().any(here))
            && terms.is_kernel_new_enough()? != Some(false))
    }
}

impl Argument {
    fn condition(&self) -> Result<Condition> {
        let (comparison, value) = match self.op.as_str() {
            "SCMP_CMP_NE" => (Comparison::NotEqual, self.value),
            "SCMP_CMP_LT" => (Comparison::Less, self.value),
            "SCMP_CMP_LE" => (Comparison::LessOrEqual, self.value),
            "SCMP_CMP_EQ" => (Comparison::Equal, self.value),
            "SCMP_CMP_GE" => (Comparison::GreaterOrEqual, self.value),
            "SCMP_CMP_GT" => (Comparison::Greater, self.value),
            "SCMP_CMP_MASKED_EQ" => (Comparison::Masked(self.value), self.value_two),
            op => {
                return Err(Error::invalid(format!("{op:?} is not a comparison"))
                    .remedy("SCMP_CMP_ with NE, LT, LE, EQ, GE, GT or MASKED_EQ after it is"));
            }
        };
        if self.index > 5 {
            return Err(Error::invalid(format!("argument {}: there are 0 to 5", self.index)));
        }
        Ok(Condition { argument: self.index, comparison, value })
    }
}

impl Terms {
    /// `None` where it does not say.
    fn is_kernel_new_enough(&self) -> Result<Option<bool>> {
        let Some(text) = self.min_kernel.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let numbers = text.split_once('.').and_then(|(major, minor)| {
            Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
        });
        let least = numbers.ok_or_else(|| {
            Error::invalid(format!("minKernel {text:?} is not a version")).remedy("as in 4.8")
        })?;
        Ok(Some(probe::kernel_version() >= least))
    }
}

fn errno(number: Option<u32>, name: Option<&str>, default: u16) -> Result<u16> {
    match (number, name) {
        (Some(number), _) => u16::try_from(number)
            .ok()
            .filter(|number| u32::from(*number) <= ERRNO_MAX)
            .ok_or_else(|| Error::invalid(format!("errno {number}: at most {ERRNO_MAX}"))),
        (None, Some(name)) => names::errno(name)
            .ok_or_else(|| Error::invalid(format!("{name:?} is no error of errno(3)"))),
        (None, None) => Ok(default),
    }
}

fn action(name: &str, errno: u16, has_errno: bool) -> Result<Action> {
    let action = match name {
        "SCMP_ACT_ERRNO" => return Ok(Action::Errno(errno)),
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRACE" | "SCMP_ACT_NOTIFY" => {
            return Err(Error::invalid(format!(
                "{name}: nobody is there to decide for the kernel"
            ))
            .remedy("use SCMP_ACT_ERRNO"));
        }
        other => {
            return Err(Error::invalid(format!("{other:?} is not an action"))
                .remedy("write one as in SCMP_ACT_ERRNO"));
        }
    };
    // The specification has a runtime refuse it: whoever wrote it meant something else.
    if has_errno {
        return Err(Error::invalid(format!("{name} takes no errno")));
    }
    Ok(action)
}
