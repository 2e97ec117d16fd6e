//! From what a benchmark found to its section: which charts and tables, and what they say.

mod cluster;
mod compare;
mod growth;
mod pause;
mod start;
mod sweep;

use super::Source;
use super::benchmarks::{Amount, Benchmark};
use super::machine;
use super::numbers::{self, Unit};
use super::section::Section;

/// A section for each source, in their order.
pub(crate) fn of_all(sources: &[Source]) -> Vec<Section> {
    sources.iter().map(of).collect()
}

fn of(source: &Source) -> Section {
    let mut section = match &source.benchmark {
        Benchmark::Start(start) => start::section(start),
        Benchmark::Sweep(sweep) => sweep::section(sweep),
        Benchmark::Growth(growth) => growth::section(growth),
        Benchmark::Pause(pause) => pause::section(pause),
        Benchmark::Compare(compare) => compare::section(compare),
        Benchmark::Cluster(cluster) => cluster::section(cluster),
    };
    section.source.clone_from(&source.name);
    section.facts.retain(|(_, value)| !value.is_empty());
    section.facts.extend(machine::of_run(source));
    section
}

/// `noop, policy once`: what a heading says of the conditions.
fn conditions(mode: Option<&str>, policy: Option<&str>) -> String {
    let mode = mode.map(|mode| format!("mode {mode}"));
    let policy = policy.map(|policy| format!("policy {policy}"));
    mode.into_iter().chain(policy).collect::<Vec<_>>().join(", ")
}

/// The same as a sentence that says what the words mean.
fn conditions_sentence(mode: Option<&str>, policy: Option<&str>) -> String {
    let mode = match mode {
        Some("noop") => "Mode noop: the container exits at once, without executing anything.",
        Some("exec") => "Mode exec: the container executes a program that does nothing.",
        Some("fork") => "Mode fork: a call that returns twice; no security boundary.",
        Some("cold") => "Mode cold: a whole process of the command, from spawn to exit.",
        _ => "",
    };
    let policy = match policy {
        Some("once") => "Policy once: a fresh slot for every start.",
        Some("reuse") => "Policy reuse: slots serve again after a reset.",
        Some("shared") => "Policy shared: all in the same namespaces, without slots.",
        _ => "",
    };
    [mode, policy].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A heading with its conditions, where there are any.
fn heading(what: &str, conditions: &str) -> String {
    if conditions.is_empty() { what.to_string() } else { format!("{what}: {conditions}") }
}

/// A fact's value, empty where there is none.
fn count(amount: Option<Amount>) -> String {
    amount.map_or(String::new(), |Amount(value)| numbers::fixed(value, 0))
}

fn seconds(amount: Option<Amount>) -> String {
    amount.map_or(String::new(), |Amount(value)| format!("{} s", numbers::short(value)))
}

fn rate(amount: Option<Amount>) -> String {
    amount.map_or(String::new(), |Amount(value)| {
        format!("{} starts per second", numbers::fixed(value, 0))
    })
}

fn micros(value: f64) -> String {
    numbers::with_unit(value, Unit::Micros)
}

/// A time that was measured: what a benchmark did not come to, it gives as 0.
fn time(amount: Option<Amount>) -> Option<Amount> {
    amount.filter(|Amount(value)| *value > 0.0)
}

/// The fact of a benchmark that was ended before its time.
fn interrupted(interrupted: Option<bool>) -> String {
    match interrupted {
        Some(true) => "ended before its time: only what was measured until then".into(),
        _ => String::new(),
    }
}

fn leaked(leaked: Option<Amount>) -> String {
    match leaked {
        Some(Amount(0.0)) => "nothing".into(),
        leaked => count(leaked),
    }
}

fn pinned(cpu: Option<u32>) -> String {
    cpu.map_or("no".into(), |cpu| format!("to CPU {cpu}"))
}

/// Points with both values, above 0 where the axis asks for it, in the order of `x`.
fn points(pairs: impl Iterator<Item = (f64, Option<f64>)>, is_log: bool) -> Vec<(f64, f64)> {
    let known = pairs.filter_map(|(x, y)| Some((x, y?)));
    let mut points: Vec<(f64, f64)> = known.filter(|(_, y)| !is_log || *y > 0.0).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// The same where `x` is on a logarithmic axis.
fn points_over_log(
    pairs: impl Iterator<Item = (f64, Option<f64>)>,
    is_log: bool,
) -> Vec<(f64, f64)> {
    points(pairs.filter(|(x, _)| *x > 0.0), is_log)
}
