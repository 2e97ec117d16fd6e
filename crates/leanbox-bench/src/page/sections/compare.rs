//! `bench compare`: leanbox beside other tools, at stated levels of isolation.

use super::{micros, time};
use crate::page::benchmarks::{Amount, Burst, Compare, Level, NotCompared, Sustained, ToolRow};
use crate::page::chart::{Bar, Bars, Chart, Role};
use crate::page::numbers;
use crate::page::section::{Part, Section, Teardown};
use crate::page::table::{Cell, Column, Table};

pub(super) fn section(compare: &Compare) -> Section {
    let facts = [
        ("policy", compare.policy.clone().unwrap_or_default()),
        ("program", compare.program.join(" ")),
        ("pause before each", pause(compare.gap_ms)),
    ];
    let parts = [
        levels(&compare.levels.0),
        sustained(&compare.sustained.0),
        burst(&compare.burst.0),
        absent(&compare.absent.0),
    ];
    Section {
        heading: "Compared with other tools".into(),
        source: String::new(),
        headline: headline(compare),
        facts: facts.map(|(name, value)| (name.to_string(), value)).into(),
        parts: parts.into_iter().flatten().collect(),
    }
}

/// The last level is the one with all isolation.
fn headline(compare: &Compare) -> String {
    let Some(level) = compare.levels.0.last() else { return rates(compare) };
    let named = level.rows.0.iter().filter_map(|row| {
        time(row.p50_us).map(|Amount(us)| format!("{} {}", row.tool, micros(us)))
    });
    let named: Vec<String> = named.take(4).collect();
    format!("p50 at level {}: {}", level.level, named.join(", "))
}

fn rates(compare: &Compare) -> String {
    let named = compare.sustained.0.iter();
    let named = named.map(|row| format!("{} {}", row.tool, numbers::fixed(row.rate.0, 0)));
    let named: Vec<String> = named.collect();
    match named.is_empty() {
        true => String::new(),
        false => format!("sustained starts per second: {}", named.join(", ")),
    }
}

fn pause(gap_ms: Option<Amount>) -> String {
    gap_ms.map_or(String::new(), |Amount(gap)| format!("{} ms", numbers::short(gap)))
}

fn is_own(tool: &str) -> bool {
    tool.starts_with("leanbox")
}

fn role(tool: &str) -> Role {
    if is_own(tool) { Role::Own } else { Role::Floor }
}

fn level_name(level: &str) -> String {
    match level {
        "namespaces" => "namespaces only".into(),
        "limits" => "namespaces and limits".into(),
        "full" => "full: with filter and user namespace".into(),
        other => other.to_string(),
    }
}

/// `, 2.4 × leanbox`, of all but leanbox itself.
fn times(tool: &str, value: f64, own: Option<f64>) -> String {
    let ratio = own.map(|own| value / own).filter(|ratio| ratio.is_finite() && !is_own(tool));
    ratio.map_or(String::new(), |ratio| format!(" · {} ×", numbers::fixed(ratio, 2)))
}

fn levels(levels: &[Level]) -> Option<Part> {
    let bars = levels.iter().flat_map(|level| {
        let own = level.rows.0.iter().find(|row| is_own(&row.tool));
        let own = own.and_then(|row| time(row.p50_us)).map(|Amount(us)| us);
        level.rows.0.iter().enumerate().map(move |(index, row)| level_bar(level, index, row, own))
    });
    let chart = Chart::Bars(Bars {
        title: "Time of one container, by tool and level of isolation".into(),
        label: "p50, and how many times leanbox’s".into(),
        rows: bars.collect(),
    });
    let columns = vec![
        Column::text("level"),
        Column::text("tool"),
        Column::text("version"),
        Column::number("runs", "", 0),
        Column::number("p50", "ms", 2),
        Column::number("p99", "ms", 2),
        Column::number("p50 in leanbox’s", "×", 2),
        Column::text("lacks at this level"),
        Column::text("has beyond it"),
        Column::text("note"),
    ];
    let part = Part {
        heading: "Latency".into(),
        teardown: Teardown::OfTool,
        sentence: "The median time of one container as a whole process of its tool, from spawn to \
            exit, in milliseconds: same root, same program, in turns. What a tool tears down before it \
            exits is included. leanbox gives each start a fresh slot (policy once, without a \
            reserve). A tool that lacks something at a level does less work there, one that has more \
            does more; the table says what."
            .into(),
        chart: Some(chart).filter(|chart| !chart.is_empty()),
        table: Table::new("By level and tool", columns, levels.iter().flat_map(level_cells).collect()),
    };
    (!levels.is_empty()).then_some(part)
}

fn level_bar(level: &Level, index: usize, row: &ToolRow, own: Option<f64>) -> Bar {
    let value = time(row.p50_us).map(|Amount(us)| us);
    let mark = if row.lacks.is_empty() { "" } else { " (lacks some)" };
    Bar {
        group: (index == 0).then(|| level_name(&level.level)),
        name: row.tool.clone(),
        role: role(&row.tool),
        value,
        text: value.map_or("not measured".into(), |us| {
            format!("{}{}{mark}", micros(us), times(&row.tool, us, own))
        }),
    }
}

fn level_cells(level: &Level) -> Vec<Vec<Cell>> {
    let own = level.rows.0.iter().find(|row| is_own(&row.tool)).and_then(|row| time(row.p50_us));
    let in_ms = |amount: Option<Amount>| Cell::from(amount.map(|Amount(us)| us / 1e3));
    let cells = |row: &ToolRow| {
        let ratio = time(row.p50_us).zip(own).map(|(us, own)| us.0 / own.0);
        vec![
            level.level.as_str().into(),
            row.tool.as_str().into(),
            row.version.clone().unwrap_or_default().into(),
            row.runs.into(),
            in_ms(time(row.p50_us)),
            in_ms(time(row.p99_us)),
            ratio.filter(|ratio| ratio.is_finite()).into(),
            row.lacks.join("; ").into(),
            row.beyond.join("; ").into(),
            row.note.clone().unwrap_or_default().into(),
        ]
    };
    level.rows.0.iter().map(cells).collect()
}

fn sustained(rows: &[Sustained]) -> Option<Part> {
    let own = rows.iter().find(|row| is_own(&row.tool)).map(|row| row.rate.0);
    let bar = |row: &Sustained| Bar {
        group: None,
        name: row.tool.clone(),
        role: role(&row.tool),
        value: Some(row.rate.0),
        text: format!(
            "{} per second{}",
            numbers::fixed(row.rate.0, 0),
            times(&row.tool, row.rate.0, own)
        ),
    };
    let columns = vec![
        Column::text("tool"),
        Column::number("rate", "starts/s", 1),
        Column::number("starts", "", 0),
        Column::number("time", "s", 1),
        Column::number("loops", "", 0),
    ];
    let cells = |row: &Sustained| {
        vec![
            row.tool.as_str().into(),
            row.rate.into(),
            row.starts.into(),
            row.seconds.into(),
            row.loops.into(),
        ]
    };
    let part = Part {
        heading: "Sustained rate".into(),
        teardown: Teardown::Included,
        sentence: "Starts per second over a longer time at level full, of a program that does nothing, \
            by loops side by side, in blocks in turns: leanbox as a library (policy once), the others \
            as a process for each start. Making and teardown are included."
            .into(),
        chart: Some(Chart::Bars(Bars {
            title: "Sustained starts per second, by tool".into(),
            label: "starts per second, and how many times leanbox’s".into(),
            rows: rows.iter().map(bar).collect(),
        })),
        table: Table::new("Sustained rate", columns, rows.iter().map(cells).collect()),
    };
    (!rows.is_empty()).then_some(part)
}

fn burst(rows: &[Burst]) -> Option<Part> {
    let own = rows.iter().find(|row| is_own(&row.tool)).map(|row| row.last_us.0);
    let bar = |row: &Burst| Bar {
        group: None,
        name: row.tool.clone(),
        role: role(&row.tool),
        value: Some(row.last_us.0),
        text: format!("{}{}", micros(row.last_us.0), times(&row.tool, row.last_us.0, own)),
    };
    let columns = vec![
        Column::text("tool"),
        Column::number("at once", "", 0),
        Column::number("reserve", "slots", 0),
        Column::number("until the last", "ms", 2),
        Column::number("p50", "ms", 2),
    ];
    let cells = |row: &Burst| {
        let in_ms = |amount: Amount| Cell::Number(amount.0 / 1e3);
        let p50 = row.p50_us.map_or(Cell::Absent, in_ms);
        vec![
            row.tool.as_str().into(),
            row.count.into(),
            row.reserve.into(),
            in_ms(row.last_us),
            p50,
        ]
    };
    let part = Part {
        heading: "Burst".into(),
        teardown: Teardown::NotIncluded,
        sentence: "Many starts asked for at the same moment at level full: the time until the program \
            of the last of them runs, in milliseconds; leanbox as a library (policy once) on a reserve \
            of ready slots. Making them is included once the reserve is used up, teardown is not."
            .into(),
        chart: Some(Chart::Bars(Bars {
            title: "Time to the last start of a burst, by tool".into(),
            label: "until the last, and how many times leanbox’s".into(),
            rows: rows.iter().map(bar).collect(),
        })),
        table: Table::new("Burst", columns, rows.iter().map(cells).collect()),
    };
    (!rows.is_empty()).then_some(part)
}

fn absent(tools: &[NotCompared]) -> Option<Part> {
    let cells = |row: &NotCompared| {
        [Some(&row.tool), row.level.as_ref(), row.reason.as_ref()]
            .map(|text| Cell::from(text.cloned().unwrap_or_default()))
            .into()
    };
    let columns = ["tool", "level", "why"].map(Column::text);
    let part = Part {
        heading: "Not compared".into(),
        sentence: "Tools that could not take part here.".into(),
        teardown: Teardown::None,
        chart: None,
        table: Table::new("Not compared", columns.into(), tools.iter().map(cells).collect()),
    };
    (!tools.is_empty()).then_some(part)
}
