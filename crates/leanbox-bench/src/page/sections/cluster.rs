//! `bench cluster`: throughput of each host and of all together.

use super::{conditions, conditions_sentence, count, heading, interrupted, rate, seconds};
use crate::page::benchmarks::{Amount, Cluster, Host};
use crate::page::chart::{Bar, Bars, Chart, Role};
use crate::page::numbers;
use crate::page::section::{Part, Section, Teardown};
use crate::page::table::{Cell, Column, Table};

pub(super) fn section(cluster: &Cluster) -> Section {
    let (mode, policy) = (cluster.mode.as_deref(), cluster.policy.as_deref());
    let failed = failed(cluster);
    let facts = [
        ("mode", mode.unwrap_or_default().to_string()),
        ("policy", policy.unwrap_or_default().to_string()),
        ("total", rate(cluster.total_rate)),
        ("counted: all hosts at once", seconds(cluster.overlap_seconds)),
        ("starts in all", count(cluster.total_starts)),
        ("warning", interrupted(cluster.interrupted)),
        ("failed", if failed == 0 { String::new() } else { hosts(failed) }),
    ];
    Section {
        heading: heading("Many hosts", &conditions(mode, policy)),
        source: String::new(),
        headline: headline(cluster),
        facts: facts.map(|(name, value)| (name.to_string(), value)).into(),
        parts: vec![throughput(cluster)],
    }
}

fn failed(cluster: &Cluster) -> usize {
    cluster.hosts.0.iter().filter(|host| host.error.is_some()).count()
}

fn hosts(count: usize) -> String {
    format!("{count} host{}", if count == 1 { "" } else { "s" })
}

fn headline(cluster: &Cluster) -> String {
    let total = cluster.total_rate.map(|total| format!("{} from ", rate(Some(total))));
    let failed = match failed(cluster) {
        0 => String::new(),
        count => format!(", {} failed", hosts(count)),
    };
    format!("{}{}{failed}", total.unwrap_or_default(), hosts(cluster.hosts.0.len()))
}

fn throughput(cluster: &Cluster) -> Part {
    let bar = |host: &Host| Bar {
        group: None,
        name: host.host.clone(),
        role: Role::Own,
        value: host.rate.map(|Amount(rate)| rate),
        text: text(host),
    };
    let chart = Chart::Bars(Bars {
        title: "Starts per second of each host".into(),
        label: "starts per second".into(),
        rows: cluster.hosts.0.iter().map(bar).collect(),
    });
    let columns = vec![
        Column::text("host"),
        Column::number("processes", "", 0),
        Column::number("starts", "", 0),
        Column::number("rate", "starts/s", 0),
        Column::text("error"),
    ];
    let cells = |host: &Host| -> Vec<Cell> {
        vec![
            host.host.as_str().into(),
            host.processes.into(),
            host.starts.into(),
            host.rate.into(),
            host.error.clone().unwrap_or_default().into(),
        ]
    };
    Part {
        heading: "Throughput of each host".into(),
        teardown: Teardown::Included,
        sentence: format!(
            "Starts per second on each host, in the time in which all ran at once; making, reset and \
             teardown are included. {}",
            conditions_sentence(cluster.mode.as_deref(), cluster.policy.as_deref())
        ),
        chart: Some(chart).filter(|chart| !chart.is_empty()),
        table: Table::new("Hosts", columns, cluster.hosts.0.iter().map(cells).collect()),
    }
}

fn text(host: &Host) -> String {
    let rate = host.rate.map(|Amount(rate)| numbers::fixed(rate, 0));
    match (rate, &host.error) {
        (Some(rate), None) => rate,
        (Some(rate), Some(error)) => format!("{rate} · {error}"),
        (None, Some(error)) => error.clone(),
        (None, None) => "no figure".into(),
    }
}
