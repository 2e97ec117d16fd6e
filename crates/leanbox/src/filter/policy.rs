//! What a filter decides, as values: a verdict for each call, by its number and arguments.
//!
//! In: the tables, or a profile. Out: a decision. Never: knows of instructions; `decide` is what
//! `program` is measured against.

use std::collections::BTreeMap;

pub(crate) const EPERM: u16 = 1;
pub(crate) const ENOSYS: u16 = 38;
/// What a kernel without that family says; programs that probe for families handle it.
pub(crate) const EAFNOSUPPORT: u16 = 97;

/// From here on the numbers of x86_64 are those of x32, which mean other calls.
pub(super) const X32: u32 = 0x4000_0000;

/// What happens to a call (seccomp(2), "filter return values").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Allow,
    /// Allowed, and written to the audit log.
    Log,
    /// Fails with this errno.
    Errno(u16),
    /// The thread gets SIGSYS.
    Trap,
    KillThread,
    KillProcess,
}

/// How an argument is compared, all 64 bits of it, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Comparison {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    /// The bits of this mask equal the value.
    Masked(u64),
}

/// A demand on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Condition {
    pub(crate) argument: u32,
    pub(crate) comparison: Comparison,
    pub(crate) value: u64,
}

/// What happens where all conditions hold; without any, always.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Rule {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) action: Action,
}

/// What happens to one call: the first rule that holds, else the rest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Verdict {
    pub(crate) rules: Vec<Rule>,
    pub(crate) otherwise: Action,
}

/// What happens to every call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) calls: BTreeMap<u32, Verdict>,
    /// Of a known call that nothing is said of; for writing the policy down.
    pub(crate) default: Action,
    /// Of numbers that are not in `calls`.
    pub(crate) unknown: Action,
    /// `SECCOMP_FILTER_FLAG_*` to install it with.
    pub(crate) flags: u64,
}

impl Action {
    /// The kernel takes the strictest of what several filters say; so do we of several rules.
    pub(crate) fn strictness(self) -> u8 {
        match self {
            Self::Allow => 0,
            Self::Log => 1,
            Self::Errno(_) => 2,
            Self::Trap => 3,
            Self::KillThread => 4,
            Self::KillProcess => 5,
        }
    }

    pub(crate) fn allows(self) -> bool {
        matches!(self, Self::Allow | Self::Log)
    }
}

impl Condition {
    pub(crate) fn holds(&self, args: &[u64; 6]) -> bool {
        let (got, value) = (args[self.argument as usize], self.value);
        match self.comparison {
            Comparison::NotEqual => got != value,
            Comparison::Less => got < value,
            Comparison::LessOrEqual => got <= value,
            Comparison::Equal => got == value,
            Comparison::GreaterOrEqual => got >= value,
            Comparison::Greater => got > value,
            Comparison::Masked(mask) => got & mask == value,
        }
    }
}

impl Rule {
    fn holds(&self, args: &[u64; 6]) -> bool {
        self.conditions.iter().all(|condition| condition.holds(args))
    }
}

impl From<Action> for Verdict {
    fn from(otherwise: Action) -> Self {
        Self { rules: Vec::new(), otherwise }
    }
}

impl Verdict {
    /// Of rules in no order: the strictest that holds, of equally strict ones the first; where
    /// none holds, `default`.
    pub(crate) fn strictest(rules: &[Rule], default: Action) -> Self {
        let (mut rules, always): (Vec<Rule>, Vec<Rule>) =
            rules.iter().cloned().partition(|rule| !rule.conditions.is_empty());
        // The last of equal ones is taken, so the first comes last.
        let always = always.iter().rev().map(|rule| rule.action);
        let always = always.max_by_key(|action| action.strictness());
        if let Some(always) = always {
            rules.retain(|rule| rule.action.strictness() > always.strictness());
        }
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.action.strictness()));
        let otherwise = always.unwrap_or(default);
        while rules.last().is_some_and(|rule| rule.action == otherwise) {
            rules.pop();
        }
        Self { rules, otherwise }
    }

    pub(crate) fn decide(&self, args: &[u64; 6]) -> Action {
        self.rules.iter().find(|rule| rule.holds(args)).map_or(self.otherwise, |rule| rule.action)
    }
}

impl Policy {
    /// What happens to call `nr` of this processor.
    pub(crate) fn decide(&self, nr: u32, args: &[u64; 6]) -> Action {
        if cfg!(target_arch = "x86_64") && nr >= X32 {
            return Action::Errno(ENOSYS);
        }
        self.calls.get(&nr).map_or(self.unknown, |verdict| verdict.decide(args))
    }
}
