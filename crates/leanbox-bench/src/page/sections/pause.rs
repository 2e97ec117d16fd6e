//! `bench pause`: how long pausing and unpausing take.

use super::{conditions, conditions_sentence, heading, micros, points_over_log};
use crate::page::benchmarks::{Amount, Pause, PauseRow};
use crate::page::chart::{AxisPlan, Chart, Lines, Role, Scale, Series};
use crate::page::numbers::{self, Unit};
use crate::page::section::{Part, Section, Teardown};
use crate::page::table::{Column, Table};

type Step = (&'static str, Role, fn(&PauseRow) -> Option<Amount>, fn(&PauseRow) -> Option<Amount>);

const STEPS: [Step; 3] = [
    ("pause", Role::Own, |row| row.pause_p50_us, |row| row.pause_p99_us),
    ("unpause", Role::Other, |row| row.unpause_p50_us, |row| row.unpause_p99_us),
    ("both", Role::Floor, |row| row.round_p50_us, |row| row.round_p99_us),
];

pub(super) fn section(pause: &Pause) -> Section {
    let policy = pause.policy.as_deref();
    Section {
        heading: heading("Pause and unpause", &conditions(None, policy)),
        source: String::new(),
        headline: headline(pause),
        facts: vec![("policy".into(), policy.unwrap_or_default().into())],
        parts: vec![latency(pause)],
    }
}

fn headline(pause: &Pause) -> String {
    let Some(row) = pause.rows.0.first() else { return String::new() };
    let named = STEPS.iter().filter_map(|(name, _, p50, _)| {
        p50(row).map(|Amount(us)| format!("{name} {}", micros(us)))
    });
    let named: Vec<String> = named.collect();
    let processes = numbers::short(row.processes.0);
    let plural = if row.processes == Amount(1.0) { "" } else { "es" };
    format!("p50 with {processes} process{plural}: {}", named.join(", "))
}

fn latency(pause: &Pause) -> Part {
    let series = STEPS.iter().map(|(name, role, p50, _)| {
        let pairs = pause.rows.0.iter();
        let pairs = pairs.map(|row| (row.processes.0, p50(row).map(|Amount(us)| us)));
        Series { name: (*name).into(), role: *role, points: points_over_log(pairs, true) }
    });
    let chart = Chart::Lines(Lines {
        title: "Latency of pause and unpause over processes".into(),
        x: AxisPlan {
            label: "processes (log scale)".into(),
            unit: Unit::Count,
            scale: Scale::Log,
            ticks_at_points: true,
        },
        y: AxisPlan {
            label: "p50 (log scale)".into(),
            unit: Unit::Micros,
            scale: Scale::Log,
            ticks_at_points: false,
        },
        series: series.filter(|one| !one.points.is_empty()).collect(),
    });
    let columns = STEPS.iter().flat_map(|(name, ..)| {
        ["p50", "p99"].map(|head| Column::number(head, "µs", 1).of_group(name))
    });
    let columns = [Column::number("processes", "", 0)].into_iter().chain(columns);
    let cells = |row: &PauseRow| {
        let of = STEPS.iter().flat_map(|(_, _, p50, p99)| [p50(row).into(), p99(row).into()]);
        [row.processes.into()].into_iter().chain(of).collect()
    };
    let rows = pause.rows.0.iter().map(cells).collect();
    Part {
        heading: "Latency".into(),
        teardown: Teardown::NotIncluded,
        sentence: format!(
            "The median time to freeze a running container until it stands still, to let it go on, \
             and of both together, in microseconds on a logarithmic scale, with so many processes \
             doing it at once. Starting and teardown are not included. {}",
            conditions_sentence(None, pause.policy.as_deref())
        ),
        chart: Some(chart).filter(|chart| !chart.is_empty()),
        table: Table::new("Pause and unpause", columns.collect(), rows),
    }
}
