//! The machine each report was made on: which reports share one, and what was noisy.

use super::Source;
use super::numbers::{self, Unit};
use serde_json::{Map, Value};

/// How the fields known so far are called on the page, in this order; others follow.
const NAMES: &[(&str, &str)] = &[
    ("kernel", "kernel"),
    ("cpu", "CPU"),
    ("cpus", "CPUs"),
    ("cpus_online", "CPUs online"),
    ("memory_kib", "memory"),
    ("virtual_machine", "virtual machine"),
    ("cgroups", "cgroups"),
    ("leanbox", "leanbox"),
    ("version", "leanbox"),
];
/// Words in names of fields that differ from run to run on one machine.
const OF_A_RUN: &[&str] = &["noise", "warning", "load", "date", "time"];

/// The name of what makes figures doubtful.
pub(crate) const WARNING: &str = "warning";

/// One machine and the reports that were made on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) sources: Vec<String>,
    pub(crate) facts: Vec<(String, String)>,
    /// The reports during which it was noisy.
    pub(crate) noisy: Vec<String>,
}

/// The machines, in the order of their first report. Reports that name none have one without
/// facts.
pub(crate) fn of_all(sources: &[Source]) -> Vec<Machine> {
    let mut machines: Vec<Machine> = Vec::new();
    for source in sources {
        let facts = facts(&source.machine, false);
        let at = machines.iter().position(|machine| machine.facts == facts).unwrap_or_else(|| {
            machines.push(Machine { facts, ..Machine::default() });
            machines.len() - 1
        });
        machines[at].sources.push(source.name.clone());
        if of_run(source).iter().any(|(name, _)| name == WARNING) {
            machines[at].noisy.push(source.name.clone());
        }
    }
    machines
}

/// What was measured about the machine during this one run.
pub(crate) fn of_run(source: &Source) -> Vec<(String, String)> {
    facts(&source.machine, true)
}

fn facts(machine: &Map<String, Value>, of_a_run: bool) -> Vec<(String, String)> {
    let place = |key: &str| NAMES.iter().position(|(known, _)| *known == key);
    let is_of_a_run = |key: &str| OF_A_RUN.iter().any(|word| key.contains(word));
    let mut keys: Vec<&String> =
        machine.keys().filter(|key| is_of_a_run(key) == of_a_run).collect();
    keys.sort_by_key(|key| place(key).unwrap_or(NAMES.len()));
    let fact = |key: &String| {
        let name = place(key).map_or_else(|| named(key), |at| NAMES[at].1.to_string());
        Some(match machine.get(key)? {
            Value::Object(fields) if key.contains("noise") => noise(name, fields),
            // a noise that is only told in words is told as a warning
            value if key.contains("noise") => vec![(WARNING.into(), text("", value)?)],
            value => vec![(name, text(key, value)?)],
        })
    };
    keys.into_iter().filter_map(fact).flatten().collect()
}

/// The figures in a line, and the warning apart.
fn noise(name: String, fields: &Map<String, Value>) -> Vec<(String, String)> {
    let warning = fields.get(WARNING).and_then(|value| text("", value));
    let figures = fields.iter().filter(|(key, _)| *key != WARNING);
    let figures = figures.map(|(key, value)| (key.clone(), value.clone())).collect();
    let figures = text("", &Value::Object(figures)).map(|figures| (name, figures));
    figures.into_iter().chain(warning.map(|warning| (WARNING.into(), warning))).collect()
}

/// A field's name without its unit.
fn named(key: &str) -> String {
    let name = ["_us", "_kib", "_percent"].iter().find_map(|unit| key.strip_suffix(unit));
    name.unwrap_or(key).replace('_', " ")
}

/// A number with the unit that its field's name ends with.
fn number(key: &str, value: f64) -> String {
    match key.rsplit('_').next() {
        Some("us") => numbers::with_unit(value, Unit::Micros),
        Some("kib") => numbers::with_unit(value, Unit::Kib),
        Some("percent") => format!("{} %", numbers::short(value)),
        _ if key.contains("_percent_") => format!("{} %", numbers::short(value)),
        _ => numbers::short(value),
    }
}

/// A value in words; nothing where there is nothing to say.
fn text(key: &str, value: &Value) -> Option<String> {
    let joined = |texts: Vec<String>, between: &str| {
        Some(texts.join(between)).filter(|text| !text.is_empty())
    };
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some("yes".into()),
        Value::Number(number) => number.as_f64().map(|value| self::number(key, value)),
        Value::String(text) => Some(text.trim().to_string()).filter(|text| !text.is_empty()),
        Value::Array(values) => {
            joined(values.iter().filter_map(|value| text(key, value)).collect(), "; ")
        }
        Value::Object(fields) => {
            let named = fields.iter().filter_map(|(key, value)| {
                Some(format!("{} {}", named(key).replace(" percent", ""), text(key, value)?))
            });
            joined(named.collect(), ", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, machine: &str) -> Source {
        let text = format!(
            r#"{{"benchmark": "start", "mode": "noop", "policy": "once", "p50_us": 1, "machine": {machine}}}"#
        );
        Source::parse(name, text.as_bytes()).unwrap()
    }

    #[test]
    fn reports_of_one_machine_share_its_facts_whatever_the_noise() {
        let sources = [
            source("a", r#"{"kernel": "6.18", "cpus": 2, "noise": "load 1.2"}"#),
            source("b", r#"{"cpus": 2, "kernel": "6.18", "noise": null}"#),
            source("c", r#"{"kernel": "6.1"}"#),
        ];
        let machines = of_all(&sources);
        assert_eq!(machines.len(), 2);
        assert_eq!(machines[0].sources, ["a", "b"]);
        let facts = [("kernel", "6.18"), ("CPUs", "2")].map(|(a, b)| (a.into(), b.into()));
        assert_eq!(machines[0].facts, facts);
        assert_eq!(of_run(&sources[0]), [("warning".into(), "load 1.2".into())]);
        assert!(of_run(&sources[1]).is_empty());
        assert_eq!(machines[0].noisy, ["a"]);
    }

    #[test]
    fn figures_of_noise_have_units_and_the_warning_stands_apart() {
        let noise = r#"{"noise": {"others_percent_before": 97.5, "vfork_after_us": 8.92,
            "warning": "noisy machine"}}"#;
        let facts = of_run(&source("a", noise));
        let figures = "others before 97.5 %, vfork after 8.92\u{a0}µs";
        let wanted = [("noise", figures), ("warning", "noisy machine")];
        assert_eq!(facts, wanted.map(|(a, b)| (a.into(), b.into())));
    }

    #[test]
    fn values_of_any_shape_are_words() {
        let value = serde_json::json!({"a_b": [1, "x", null], "c": true, "d": {}, "e": 1234.5});
        assert_eq!(text("", &value).unwrap(), "a b 1; x, c yes, e 1,234");
    }
}
