//! A policy as a profile, which reads back as the same policy.
//!
//! In: a policy. Out: JSON, and for people a line for each call. Never: leaves a call out: what is
//! refused is written down as well.

use crate::filter::names;
use crate::filter::policy::{Action, Comparison, Condition, Policy, Rule, Verdict};
use serde::Serialize;
use std::fmt::Write;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(flatten)]
    default: Outcome<'static>,
    architectures: [&'static str; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<&'static str>,
    syscalls: Vec<Entry>,
}

/// The one of a file and that of an entry differ in their names only.
#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(rename = "defaultAction")]
    action: &'a str,
    #[serde(rename = "defaultErrnoRet", skip_serializing_if = "Option::is_none")]
    errno: Option<u16>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    names: Vec<&'static str>,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<Argument>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u32,
    value: u64,
    #[serde(skip_serializing_if = "is_zero")]
    value_two: u64,
    op: &'static str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: &str = "SCMP_ARCH_X86_64";
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: &str = "SCMP_ARCH_AARCH64";

/// The policy as JSON of the OCI runtime specification.
pub(crate) fn write(policy: &Policy) -> String {
    let flags = [(2, "SECCOMP_FILTER_FLAG_LOG"), (4, "SECCOMP_FILTER_FLAG_SPEC_ALLOW")];
    let (action, errno) = words(policy.default);
    let file = File {
        default: Outcome { action, errno },
        architectures: [ARCHITECTURE],
        flags: flags.iter().filter(|flag| policy.flags & flag.0 != 0).map(|flag| flag.1).collect(),
        syscalls: groups(policy)
            .into_iter()
            .flat_map(|(names, verdict)| entries(&names, &verdict, policy.default))
            .collect(),
    };
    serde_json::to_string_pretty(&file).unwrap_or_default()
}

/// Calls with one verdict, by their names; the allowed ones first.
fn groups(policy: &Policy) -> Vec<(Vec<&'static str>, Verdict)> {
    let mut groups: Vec<(Vec<&'static str>, Verdict)> = Vec::new();
    let unknown = Verdict::from(policy.unknown);
    let mut calls: Vec<(&'static str, u32)> = names::calls().collect();
    calls.sort_unstable();
    for (name, nr) in calls {
        let verdict = policy.calls.get(&nr).unwrap_or(&unknown);
        match groups.iter_mut().find(|(_, known)| known == verdict) {
            Some((names, _)) => names.push(name),
            None => groups.push((vec![name], verdict.clone())),
        }
    }
    groups.sort_by_key(|(_, verdict)| (!verdict.rules.is_empty(), verdict.otherwise.strictness()));
    groups
}

fn entries(names: &[&'static str], verdict: &Verdict, default: Action) -> Vec<Entry> {
    let entry = |rule: &Rule| {
        let (action, errno_ret) = words(rule.action);
        let args = rule.conditions.iter().map(argument).collect();
        Entry { names: names.to_vec(), action, errno_ret, args }
    };
    let mut rules = verdict.rules.clone();
    // What is refused in another way than by default would take the exceptions along: of several
    // rules the strictest holds. So it is written as what the exceptions are not.
    let strictest = rules.iter().map(|rule| rule.action.strictness()).max().unwrap_or(0);
    if verdict.otherwise != default || rules.is_empty() {
        if rules.is_empty() || verdict.otherwise.strictness() < strictest {
            rules.push(Rule { conditions: Vec::new(), action: verdict.otherwise });
        } else {
            rules.extend(all_but(&verdict.rules, verdict.otherwise));
        }
    }
    // As they are read, so that what is shown of what was shown is the same.
    rules.sort_by_key(|rule| {
        (rule.conditions.is_empty(), std::cmp::Reverse(rule.action.strictness()))
    });
    rules.iter().map(entry).collect()
}

/// `action` for whatever is not equal to one of the values in `rules`, which all look for equality.
fn all_but(rules: &[Rule], action: Action) -> Vec<Rule> {
    let wanted: Vec<Condition> = rules.iter().flat_map(|rule| rule.conditions.clone()).collect();
    let last = wanted.iter().map(|one| one.value).max().unwrap_or(0);
    let argument = wanted.first().map_or(0, |one| one.argument);
    let rule = |comparison, value| {
        let conditions = vec![Condition { argument, comparison, value }];
        Rule { conditions, action }
    };
    let gaps = (0..last).filter(|value| wanted.iter().all(|one| one.value != *value));
    let gaps = gaps.map(|value| rule(Comparison::Equal, value));
    gaps.chain([rule(Comparison::Greater, last)]).collect()
}

fn argument(condition: &Condition) -> Argument {
    let (op, value, value_two) = match condition.comparison {
        Comparison::NotEqual => ("SCMP_CMP_NE", condition.value, 0),
        Comparison::Less => ("SCMP_CMP_LT", condition.value, 0),
        Comparison::LessOrEqual => ("SCMP_CMP_LE", condition.value, 0),
        Comparison::Equal => ("SCMP_CMP_EQ", condition.value, 0),
        Comparison::GreaterOrEqual => ("SCMP_CMP_GE", condition.value, 0),
        Comparison::Greater => ("SCMP_CMP_GT", condition.value, 0),
        Comparison::Masked(mask) => ("SCMP_CMP_MASKED_EQ", mask, condition.value),
    };
    Argument { index: condition.argument, value, value_two, op }
}

fn words(action: Action) -> (&'static str, Option<u16>) {
    match action {
        Action::Allow => ("SCMP_ACT_ALLOW", None),
        Action::Log => ("SCMP_ACT_LOG", None),
        Action::Errno(errno) => ("SCMP_ACT_ERRNO", Some(errno)),
        Action::Trap => ("SCMP_ACT_TRAP", None),
        Action::KillThread => ("SCMP_ACT_KILL_THREAD", None),
        Action::KillProcess => ("SCMP_ACT_KILL_PROCESS", None),
    }
}

/// A line for each call: its name, what happens to it, and on what that depends.
pub(crate) fn table(policy: &Policy) -> String {
    let mut text = String::new();
    for (names, verdict) in groups(policy) {
        for name in names {
            let _ = write!(text, "{name:<24} ");
            for rule in &verdict.rules {
                let terms: Vec<String> = rule.conditions.iter().map(term).collect();
                let _ = write!(text, "{} if {}, ", short(rule.action), terms.join(" and "));
            }
            let last = if verdict.rules.is_empty() { "" } else { "else " };
            let _ = writeln!(text, "{last}{}", short(verdict.otherwise));
        }
    }
    let _ = writeln!(text, "{:<24} {}", "any other number", short(policy.unknown));
    text
}

fn term(condition: &Condition) -> String {
    let Condition { argument, comparison, value } = *condition;
    match comparison {
        Comparison::NotEqual => format!("arg{argument} != {value:#x}"),
        Comparison::Less => format!("arg{argument} < {value:#x}"),
        Comparison::LessOrEqual => format!("arg{argument} <= {value:#x}"),
        Comparison::Equal => format!("arg{argument} == {value:#x}"),
        Comparison::GreaterOrEqual => format!("arg{argument} >= {value:#x}"),
        Comparison::Greater => format!("arg{argument} > {value:#x}"),
        Comparison::Masked(mask) => format!("arg{argument} & {mask:#x} == {value:#x}"),
    }
}

fn short(action: Action) -> String {
    match action {
        Action::Allow => "allow".into(),
        Action::Log => "allow and log".into(),
        Action::Errno(errno) => names::errno_name(errno),
        Action::Trap => "SIGSYS".into(),
        Action::KillThread => "kill the thread".into(),
        Action::KillProcess => "kill".into(),
    }
}
