//! `bench sweep`: throughput over driver processes.

use super::{
    conditions, conditions_sentence, heading, interrupted, leaked, pinned, points_over_log,
    seconds, time,
};
use crate::page::benchmarks::{Amount, Sweep, SweepRow, SweepSide};
use crate::page::chart::{AxisPlan, Chart, Lines, Role, Scale, Series};
use crate::page::numbers::{self, Unit};
use crate::page::section::{Part, Section, Teardown};
use crate::page::table::{Cell, Column, Table};

type Side = (&'static str, Role, fn(&SweepRow) -> Option<SweepSide>);

const SIDES: [Side; 3] = [
    ("leanbox", Role::Own, |row| row.leanbox),
    ("classic", Role::Other, |row| row.classic),
    ("floor", Role::Floor, |row| row.floor),
];

pub(super) fn section(sweep: &Sweep) -> Section {
    let (mode, policy) = (sweep.mode.as_deref(), sweep.policy.as_deref());
    let facts = [
        ("mode", mode.unwrap_or_default().to_string()),
        ("policy", policy.unwrap_or_default().to_string()),
        ("pinned", pinned(sweep.pinned_cpu)),
        ("each point", seconds(sweep.seconds)),
        ("leaked", leaked(sweep.leaked)),
        ("warning", interrupted(sweep.interrupted)),
    ];
    Section {
        heading: heading("Throughput over processes", &conditions(mode, policy)),
        source: String::new(),
        headline: headline(sweep),
        facts: facts.map(|(name, value)| (name.to_string(), value)).into(),
        parts: [Some(throughput(sweep)), latency(sweep)].into_iter().flatten().collect(),
    }
}

/// The peak and where it is.
fn headline(sweep: &Sweep) -> String {
    let peak = |(name, _, side): &Side| {
        let rates =
            sweep.rows.0.iter().filter_map(|row| Some((side(row)?.rate.0, row.processes.0)));
        let (rate, processes) = rates.max_by(|a, b| a.0.total_cmp(&b.0))?;
        let (rate, processes) = (numbers::fixed(rate, 0), numbers::fixed(processes, 0));
        Some(format!("{name} {rate} at {processes}"))
    };
    let peaks: Vec<String> = SIDES.iter().filter_map(peak).collect();
    format!("peak of starts per second and its processes: {}", peaks.join(", "))
}

fn processes() -> AxisPlan {
    AxisPlan {
        label: "driver processes (log scale)".into(),
        unit: Unit::Count,
        scale: Scale::Log,
        ticks_at_points: true,
    }
}

/// A line for each side that has the value.
fn series(sweep: &Sweep, value: fn(SweepSide) -> Option<Amount>, is_log: bool) -> Vec<Series> {
    let series = SIDES.iter().map(|(name, role, side)| {
        let pairs = sweep.rows.0.iter();
        let pairs = pairs.map(|row| (row.processes.0, side(row).and_then(value).map(|it| it.0)));
        let points = points_over_log(pairs, is_log);
        Series { name: (*name).into(), role: *role, points }
    });
    series.filter(|one| !one.points.is_empty()).collect()
}

fn throughput(sweep: &Sweep) -> Part {
    let (mode, policy) = (sweep.mode.as_deref(), sweep.policy.as_deref());
    let chart = Lines {
        title: heading("Starts per second over processes", &conditions(mode, policy)),
        x: processes(),
        y: AxisPlan {
            label: "starts per second".into(),
            unit: Unit::Count,
            scale: Scale::Linear,
            ticks_at_points: false,
        },
        series: series(sweep, |side| Some(side.rate), false),
    };
    let columns = || {
        vec![
            Column::number("rate", "starts/s", 0),
            Column::number("CPUs used", "", 2),
            Column::number("per CPU-second", "starts", 0),
        ]
    };
    let cells =
        |it: SweepSide| vec![it.rate.into(), it.cpu.into(), it.starts_per_cpu_second.into()];
    Part {
        heading: "Throughput".into(),
        teardown: Teardown::Included,
        sentence: format!(
            "Starts per second of all driver processes together, each starting one container after \
             the other, over their number on a logarithmic scale; making, reset and teardown are \
             included. leanbox, classic and the floor ran in turns. {}",
            conditions_sentence(mode, policy)
        ),
        chart: Some(Chart::Lines(chart)).filter(|chart| !chart.is_empty()),
        table: table(sweep, "Throughput and CPU use", columns, cells),
    }
}

fn latency(sweep: &Sweep) -> Option<Part> {
    let chart = Chart::Lines(Lines {
        title: "Median latency of a start over driver processes".into(),
        x: processes(),
        y: AxisPlan {
            label: "p50, start to outcome (log scale)".into(),
            unit: Unit::Micros,
            scale: Scale::Log,
            ticks_at_points: false,
        },
        series: series(sweep, |side| time(side.p50_us), true),
    });
    let columns = || vec![Column::number("p50", "µs", 1), Column::number("p99", "µs", 1)];
    let part = Part {
        heading: "Latency".into(),
        teardown: Teardown::NotIncluded,
        sentence: "The median time of a start in the same runs, from the call until the outcome is \
            known, in microseconds on a logarithmic scale, waiting for a slot included; teardown is \
            not. More processes than CPUs wait for each other."
            .into(),
        table: table(sweep, "Start to outcome", columns, |it| vec![time(it.p50_us).into(), time(it.p99_us).into()]),
        chart: Some(chart.clone()),
    };
    (!chart.is_empty()).then_some(part)
}

/// A row for each number of processes, a group of columns for each side.
fn table(
    sweep: &Sweep,
    caption: &str,
    columns: impl Fn() -> Vec<Column>,
    cells: impl Fn(SweepSide) -> Vec<Cell>,
) -> Table {
    let width = columns().len();
    let heads = SIDES
        .iter()
        .flat_map(|(name, ..)| columns().into_iter().map(|column| column.of_group(name)));
    let row = |row: &SweepRow| {
        let of = |(_, _, side): &Side| side(row).map_or(vec![Cell::Absent; width], &cells);
        [row.processes.into()].into_iter().chain(SIDES.iter().flat_map(of)).collect()
    };
    let heads = [Column::number("processes", "", 0)].into_iter().chain(heads).collect();
    Table::new(caption, heads, sweep.rows.0.iter().map(row).collect())
}
