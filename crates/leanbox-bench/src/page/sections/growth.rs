//! `bench growth`: latency and memory with many containers, and the rate over very many starts.

use super::{
    conditions, conditions_sentence, count, heading, interrupted, leaked, micros, points_over_log,
    time,
};
use crate::page::benchmarks::{Amount, Change, Growth, GrowthRow};
use crate::page::chart::{AxisPlan, Bar, Bars, Chart, Lines, Role, Scale, Series};
use crate::page::numbers::{self, Unit};
use crate::page::section::{Part, Section, Teardown};
use crate::page::table::{Column, Table};

pub(super) fn section(growth: &Growth) -> Section {
    let (mode, policy) = (mode(growth), growth.policy.as_deref());
    let facts = [
        ("mode", mode.unwrap_or_default().to_string()),
        ("network", growth.network.clone().unwrap_or_default()),
        ("policy", policy.unwrap_or_default().to_string()),
        ("starts in all", count(growth.total_starts)),
        ("leaked", leaked(growth.leaked)),
        ("warning", interrupted(growth.interrupted)),
    ];
    let parts = [latency(growth), memory(growth), tenths(growth)];
    Section {
        heading: heading("Growth", &conditions(mode, policy)),
        source: String::new(),
        headline: headline(growth),
        facts: facts.map(|(name, value)| (name.to_string(), value)).into(),
        parts: parts.into_iter().flatten().collect(),
    }
}

/// It starts containers of one mode only, and older reports do not say so.
fn mode(growth: &Growth) -> Option<&str> {
    Some(growth.mode.as_deref().unwrap_or("noop"))
}

fn headline(growth: &Growth) -> String {
    let most = growth.rows.0.iter().max_by(|a, b| a.containers.0.total_cmp(&b.containers.0));
    let Some(row) = most else { return String::new() };
    let latency = time(row.p50_us).map(|Amount(us)| format!(", p50 {}", micros(us)));
    let memory = row.memory_kib_each;
    let memory = memory.map(|Change(kib)| format!(", {} each", numbers::with_unit(kib, Unit::Kib)));
    let containers = numbers::fixed(row.containers.0, 0);
    let (latency, memory) = (latency.unwrap_or_default(), memory.unwrap_or_default());
    format!("with {containers} {} containers{latency}{memory}", row.state)
}

/// A line for each state, in the order in which they come.
fn by_state(growth: &Growth, value: fn(&GrowthRow) -> Option<f64>, is_log: bool) -> Vec<Series> {
    let mut states: Vec<&str> = Vec::new();
    for row in &growth.rows.0 {
        if !states.contains(&row.state.as_str()) {
            states.push(&row.state);
        }
    }
    let roles = [Role::Own, Role::Other, Role::Floor].into_iter();
    let series = states.iter().zip(roles).map(|(state, role)| {
        let rows = growth.rows.0.iter().filter(|row| row.state == *state);
        let pairs = rows.map(|row| (row.containers.0, value(row).filter(|value| *value >= 0.0)));
        let points = points_over_log(pairs, is_log);
        Series { name: (*state).into(), role, points }
    });
    series.filter(|one| !one.points.is_empty()).collect()
}

fn containers() -> AxisPlan {
    AxisPlan {
        label: "containers (log scale)".into(),
        unit: Unit::Count,
        scale: Scale::Log,
        ticks_at_points: true,
    }
}

fn chart(title: &str, y: AxisPlan, series: Vec<Series>) -> Option<Chart> {
    let lines = Lines { title: title.into(), x: containers(), y, series };
    Some(Chart::Lines(lines)).filter(|chart| !chart.is_empty())
}

fn latency(growth: &Growth) -> Option<Part> {
    let y = AxisPlan {
        label: "p50, start to outcome".into(),
        unit: Unit::Micros,
        scale: Scale::Linear,
        ticks_at_points: false,
    };
    let columns = vec![
        Column::number("containers", "", 0),
        Column::text("state"),
        Column::number("p50", "µs", 1),
        Column::number("p99", "µs", 1),
    ];
    let rows = growth.rows.0.iter();
    let rows = rows.map(|row| {
        vec![
            row.containers.into(),
            row.state.as_str().into(),
            time(row.p50_us).into(),
            time(row.p99_us).into(),
        ]
    });
    let series = by_state(growth, |row| Some(time(row.p50_us)?.0), false);
    let part = Part {
        heading: "Latency".into(),
        teardown: Teardown::NotIncluded,
        sentence: format!(
            "The median time of a start, from the call until the outcome is known, in microseconds, \
             while so many others are there: idle in their slots, or live and running. Teardown is \
             not included. {}",
            conditions_sentence(mode(growth), growth.policy.as_deref())
        ),
        chart: chart("Latency of a start over containers", y, series),
        table: Table::new("Start to outcome with containers there", columns, rows.collect()),
    };
    growth.rows.0.iter().any(|row| time(row.p50_us).is_some()).then_some(part)
}

fn memory(growth: &Growth) -> Option<Part> {
    let y = AxisPlan {
        label: "memory of each container (log scale)".into(),
        unit: Unit::Kib,
        scale: Scale::Log,
        ticks_at_points: false,
    };
    let columns = vec![
        Column::number("containers", "", 0),
        Column::text("state"),
        Column::number("memory of each", "KiB", 1),
        Column::number("by MemFree", "KiB", 1),
    ];
    let rows = growth.rows.0.iter();
    let rows = rows.map(|row| {
        vec![
            row.containers.into(),
            row.state.as_str().into(),
            row.memory_kib_each.into(),
            row.memory_free_kib_each.into(),
        ]
    });
    let series = by_state(growth, |row| Some(row.memory_kib_each?.0), true);
    let part = Part {
        heading: "Memory".into(),
        teardown: Teardown::None,
        sentence: "What the machine has less of for each container by MemAvailable, in KiB, all \
            told: processes, namespaces, mounts and groups; by MemFree with what the kernel could \
            give back. On a logarithmic scale; differences at or below 0 are noise and not drawn."
            .into(),
        chart: chart("Memory of each container over containers", y, series),
        table: Table::new("Memory", columns, rows.collect()),
    };
    growth.rows.0.iter().any(|row| row.memory_kib_each.is_some()).then_some(part)
}

fn tenths(growth: &Growth) -> Option<Part> {
    let last = growth.starts.0.iter().map(|row| row.tenth.0).fold(0.0, f64::max);
    let bars = growth.starts.0.iter().map(|row| Bar {
        group: None,
        name: format!("tenth {}", numbers::short(row.tenth.0)),
        role: Role::Own,
        value: Some(row.rate.0),
        text: format!("{} per second", numbers::fixed(row.rate.0, 0)),
    });
    let rate =
        |tenth: f64| growth.starts.0.iter().find(|row| row.tenth.0 == tenth).map(|row| row.rate.0);
    let change = rate(last).zip(rate(1.0)).map(|(last, first)| (last / first - 1.0) * 100.0);
    let change = change.filter(|change| change.is_finite()).map_or(String::new(), |percent| {
        let sign = if percent > 0.0 { "+" } else { "" };
        format!(" The last differs from the first by {sign}{} %.", numbers::fixed(percent, 1))
    });
    let columns = vec![Column::number("tenth", "", 0), Column::number("rate", "starts/s", 0)];
    let rows = growth.starts.0.iter().map(|row| vec![row.tenth.into(), row.rate.into()]);
    let chart = Chart::Bars(Bars {
        title: "Starts per second in each tenth of the run".into(),
        label: "starts per second".into(),
        rows: bars.collect(),
    });
    let part = Part {
        heading: "Rate over the whole run".into(),
        teardown: Teardown::Included,
        sentence: format!(
            "Starts per second in each tenth of {}; making, reset and teardown are included.{change}",
            growth.total_starts.map_or("all starts".into(), |Amount(starts)| format!(
                "{} starts",
                numbers::fixed(starts, 0)
            ))
        ),
        chart: Some(chart),
        table: Table::new("Rate over the whole run", columns, rows.collect()),
    };
    (!growth.starts.0.is_empty()).then_some(part)
}
