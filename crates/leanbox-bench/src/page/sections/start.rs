//! `bench start`: the distribution of a start's latency beside floor and classic.

use super::{
    conditions, conditions_sentence, count, heading, interrupted, leaked, micros, pinned, points,
    rate, seconds, time,
};
use crate::page::benchmarks::{Amount, Distribution, OpenLoop, Start, Times};
use crate::page::chart::{AxisPlan, Bar, Bars, Chart, Lines, Role, Scale, Series};
use crate::page::numbers::{self, Unit};
use crate::page::section::{Part, Section, Teardown};
use crate::page::table::{Cell, Column, Table};

/// The shares of starts in the table.
const SHARES: [(f64, &str); 6] =
    [(0.5, "50 %"), (0.9, "90 %"), (0.95, "95 %"), (0.99, "99 %"), (0.999, "99.9 %"), (1.0, "all")];

pub(super) fn section(start: &Start) -> Section {
    let (mode, policy) = (start.mode.as_str(), start.policy.as_str());
    let conditions = conditions(Some(mode), Some(policy));
    let distribution = start.distribution.as_ref().and_then(|found| quantiles(start, found));
    let parts = distribution.into_iter().chain([medians(start)]);
    Section {
        heading: match start.open_loop {
            Some(_) => heading("Start at a rate", &conditions),
            None => heading("Start", &conditions),
        },
        source: String::new(),
        headline: headline(start),
        facts: facts(start),
        parts: parts.collect(),
    }
}

fn headline(start: &Start) -> String {
    let times = |of: Option<Amount>, words: &str, turned: bool| {
        let (own, other) = (start.p50_us.0, time(of)?.0);
        let ratio = if turned { other / own } else { own / other };
        ratio
            .is_finite()
            .then(|| format!(", {}{words}", numbers::fixed(ratio, if turned { 1 } else { 2 })))
    };
    let floor = times(start.floor_p50_us, " × the floor", false).unwrap_or_default();
    let classic = times(start.classic_p50_us, " × faster than classic", true).unwrap_or_default();
    match time(Some(start.p50_us)) {
        Some(Amount(us)) => format!("p50 {}{floor}{classic}", micros(us)),
        None => rate(start.sustained_per_second),
    }
}

fn facts(start: &Start) -> Vec<(String, String)> {
    let open = start.open_loop.unwrap_or(NO_RATE);
    let sustained = if start.open_loop.is_some() { None } else { start.sustained_per_second };
    [
        ("mode", start.mode.clone()),
        ("policy", start.policy.clone()),
        ("pinned", pinned(start.pinned_cpu)),
        ("driver processes", count(start.processes)),
        ("threads of each", count(start.threads)),
        ("sustained, making and teardown included", rate(sustained)),
        ("starts in the loop", count(start.starts)),
        ("length of the loop", seconds(start.seconds)),
        (
            "CPUs busy in the loop",
            start.cpus_used.map_or(String::new(), |cpus| numbers::short(cpus.0)),
        ),
        ("arrivals offered", rate(open.offered_rate)),
        ("achieved", rate(open.achieved_rate)),
        ("arrivals", count(open.arrivals)),
        ("began late", count(open.late)),
        ("given up", count(open.unserved)),
        ("leaked", leaked(start.leaked)),
        ("warning", interrupted(start.interrupted)),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into()
}

const NO_RATE: OpenLoop = OpenLoop {
    offered_rate: None,
    achieved_rate: None,
    arrivals: None,
    late: None,
    unserved: None,
};

fn floor_name(mode: &str) -> &'static str {
    match mode {
        "exec" => "vfork + exec floor",
        "fork" => "fork floor",
        _ => "vfork floor",
    }
}

const MEASURED: &str = "One start at a time from a full reserve, from the call until the outcome is \
    known; making and teardown of slots are not included. Floor and classic ran in turns with it.";

fn quantiles(start: &Start, found: &Distribution) -> Option<Part> {
    let sides = [
        ("leanbox", Role::Own, &found.leanbox),
        (floor_name(&start.mode), Role::Floor, &found.floor),
        ("classic", Role::Other, &found.classic),
    ];
    let series = sides.map(|(name, role, pairs)| Series {
        name: name.into(),
        role,
        points: points(pairs.iter().map(|(q, us)| (q.0.min(1.0), Some(us.0))), true),
    });
    let series: Vec<Series> = series.into_iter().filter(|one| !one.points.is_empty()).collect();
    let sentence = format!(
        "How long starts take, in microseconds on a logarithmic scale, over the share of starts \
         that take at most that long: at 99 % are 99 of 100. {MEASURED} {}",
        conditions_sentence(Some(&start.mode), Some(&start.policy))
    );
    let part = Part {
        heading: "Latency distribution".into(),
        teardown: Teardown::NotIncluded,
        sentence,
        table: quantile_table(&series),
        chart: Some(quantile_chart(start, series)),
    };
    Some(part).filter(|part| part.chart.as_ref().is_some_and(|chart| !chart.is_empty()))
}

fn quantile_table(series: &[Series]) -> Table {
    let columns = series.iter().map(|one| Column::number(&one.name, "µs", 1));
    let columns = [Column::text("share of starts")].into_iter().chain(columns).collect();
    let at = |one: &Series, share: f64| {
        one.points.iter().find(|(q, _)| (q - share).abs() < 1e-9).map(|(_, us)| *us)
    };
    let row = |(share, name): (f64, &str)| {
        let cells = series.iter().map(|one| Cell::from(at(one, share)));
        [Cell::from(name)].into_iter().chain(cells).collect()
    };
    Table::new("Latency that this share of starts stays within", columns, SHARES.map(row).into())
}

fn quantile_chart(start: &Start, series: Vec<Series>) -> Chart {
    let axis = |label: &str, unit: Unit, scale: Scale| AxisPlan {
        label: label.into(),
        unit,
        scale,
        ticks_at_points: false,
    };
    Chart::Lines(Lines {
        title: format!("Latency of a start ({}, policy {})", start.mode, start.policy),
        x: axis("share of starts", Unit::Share, Scale::Tail),
        y: axis("start to outcome (log scale)", Unit::Micros, Scale::Log),
        series,
    })
}

/// Whose times, by name.
struct Row {
    name: &'static str,
    role: Role,
    times: Times,
}

/// Those that were measured.
fn measured<const N: usize>(rows: [(&'static str, Role, Option<Times>); N]) -> Vec<Row> {
    let rows = rows.into_iter();
    let rows = rows.filter_map(|(name, role, times)| Some(Row { name, role, times: times? }));
    rows.filter(|row| time(row.times.p50_us).is_some()).collect()
}

/// From the call until the outcome is known.
fn latencies(start: &Start) -> Vec<Row> {
    let own = Times { p50_us: Some(start.p50_us), p99_us: start.p99_us, max_us: start.max_us };
    let in_loop = match start.open_loop {
        Some(_) => "leanbox, from the intended start, at that rate",
        None => "leanbox, in the sustained loop",
    };
    let dirty = start.dirty.and_then(|dirty| dirty.start);
    measured([
        ("leanbox, from a full reserve", Role::Own, Some(own)),
        (in_loop, Role::Own, start.sustained),
        ("leanbox, scratch dirtied", Role::Own, dirty),
        ("leanbox, called by a process of classic’s size", Role::Own, start.fork_of_small),
        ("floor: vfork, exit, wait", Role::Floor, start.vfork),
        ("floor: vfork, exec, wait", Role::Floor, start.vfork_exec),
        ("floor: fork, exit, wait", Role::Floor, start.fork),
        ("classic: the original’s critical path", Role::Other, start.classic),
    ])
}

/// From one start to the next, with what lies between.
fn cycles(start: &Start) -> Vec<Row> {
    let dirty = start.dirty.and_then(|dirty| dirty.cycle);
    measured([
        ("leanbox, start to next start", Role::Own, start.cycle),
        ("leanbox, scratch dirtied, start to next start", Role::Own, dirty),
    ])
}

fn medians(start: &Start) -> Part {
    let latencies = latencies(start);
    let bar = |row: &Row| {
        let value = row.times.p50_us.map(|Amount(us)| us);
        let text = value.map_or(String::new(), micros);
        Bar { group: None, name: row.name.into(), role: row.role, value, text }
    };
    let bars = Chart::Bars(Bars {
        title: format!("Median latency of a start ({}, policy {})", start.mode, start.policy),
        label: "p50, start to outcome".into(),
        rows: latencies.iter().map(bar).collect(),
    });
    let rows: Vec<Row> = latencies.into_iter().chain(cycles(start)).collect();
    Part {
        heading: "Medians".into(),
        teardown: Teardown::NotIncluded,
        sentence: format!(
            "The median time of a start, from the call until the outcome is known, beside what the \
             kernel needs at least and what the original needed, in microseconds. Teardown is not \
             included; in the table, what goes from one start to the next includes making or reset. \
             {}",
            conditions_sentence(Some(&start.mode), Some(&start.policy))
        ),
        chart: Some(bars).filter(|chart| !chart.is_empty()),
        table: medians_table(start, &rows),
    }
}

fn medians_table(start: &Start, rows: &[Row]) -> Table {
    let floor = time(start.floor_p50_us).map(|Amount(us)| us);
    let cells = |row: &Row| {
        let Times { p50_us, p99_us, max_us } = row.times;
        let ratio = p50_us.zip(floor).map(|(Amount(us), floor)| us / floor);
        vec![row.name.into(), p50_us.into(), p99_us.into(), max_us.into(), ratio.into()]
    };
    let columns = vec![
        Column::text("what"),
        Column::number("p50", "µs", 1),
        Column::number("p99", "µs", 1),
        Column::number("max", "µs", 1),
        Column::number("p50 in floors", "×", 2),
    ];
    Table::new("Times of a start", columns, rows.iter().map(cells).collect())
}
