//! What a comparison found, for people and as JSON.

use super::burst::Burst;
use super::level::{Feature, Level};
use super::sustained::Rate;
use super::tool::Tool;
use crate::Summary;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// A comparison's result.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// `compare`.
    pub benchmark: &'static str,
    /// What ran in every container of `levels`.
    pub program: Vec<String>,
    /// The pause before each start.
    pub gap_ms: u64,
    /// Whole processes, from spawn to exit, one list for each level.
    pub levels: Vec<Rows>,
    /// What is not compared, and why.
    pub absent: Vec<Absent>,
    /// Starts a second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sustained: Vec<Rate>,
    /// leanbox's rate in crun's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sustained_ratio: Option<f64>,
    /// Starts at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub burst: Vec<Burst>,
}

/// A level's rows.
#[derive(Debug, Clone, Serialize)]
pub struct Rows {
    /// What everybody was asked for.
    pub level: Level,
    /// One for each tool.
    pub rows: Vec<Row>,
}

/// A tool's times at a level.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its name.
    pub tool: &'static str,
    /// As it tells it.
    pub version: String,
    /// How many were measured.
    pub runs: usize,
    /// From spawn to exit, in microseconds.
    pub p50_us: f64,
    /// Likewise.
    pub p99_us: f64,
    /// What the level asks for and this tool lacks.
    pub lacks: Vec<&'static str>,
    /// What it has beyond that.
    pub beyond: Vec<&'static str>,
    /// What else there is to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

impl Row {
    pub(crate) fn of(tool: Tool, version: &str, level: Level, samples: &[Duration]) -> Self {
        let names = |features: Vec<Feature>| features.into_iter().map(Feature::name).collect();
        let Summary { count: runs, p50_us, p99_us, .. } = Summary::of(samples);
        Self {
            tool: tool.name(),
            version: version.to_string(),
            runs,
            p50_us,
            p99_us,
            lacks: names(tool.lacks(level)),
            beyond: names(tool.beyond(level)),
            note: tool.note(level),
        }
    }
}

/// A tool that is not compared.
#[derive(Debug, Clone, Serialize)]
pub struct Absent {
    /// Its name.
    pub tool: &'static str,
    /// Where it works at others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// In a line.
    pub reason: String,
}

impl fmt::Display for Comparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        if !self.levels.is_empty() {
            let (program, gap_ms) = (self.program.join(" "), self.gap_ms);
            lines.push(format!("whole processes in turns, {gap_ms} ms apart, each runs {program}"));
        }
        for rows in &self.levels {
            lines.push(format!("{}: {}", rows.level.name(), rows.level.title()));
            let own = rows.rows.first().map_or(0.0, |row| row.p50_us);
            lines.extend(rows.rows.iter().map(|row| row.line(own)));
        }
        lines.extend(self.sustained_lines());
        lines.extend(self.burst_lines());
        lines.extend(self.absent.iter().map(Absent::line));
        out.write_str(&lines.join("\n"))
    }
}

impl Comparison {
    fn sustained_lines(&self) -> Vec<String> {
        let line = |rate: &Rate| {
            let Rate { tool, rate, seconds, starts, loops } = rate;
            format!("  {tool:<8} {rate:8.0} a second   {starts} in {seconds:.1} s, {loops} loops")
        };
        let mut lines: Vec<String> = self.sustained.iter().map(line).collect();
        if !lines.is_empty() {
            let title = "sustained, full level, the do-nothing program, in blocks in turns:";
            lines.insert(0, title.into());
        }
        lines.extend(self.sustained_ratio.map(|ratio| format!("  {ratio:.1} times crun's rate")));
        lines
    }

    fn burst_lines(&self) -> Vec<String> {
        let line = |burst: &Burst| {
            let Burst { tool, reserve, last_us, p50_us, .. } = burst;
            let (last, p50) = (last_us / 1e3, p50_us / 1e3);
            let reserve =
                if *reserve > 0 { format!("   on a reserve of {reserve}") } else { String::new() };
            format!("  {tool:<8} last {last:8.1} ms   p50 {p50:8.1} ms{reserve}")
        };
        let mut lines: Vec<String> = self.burst.iter().map(line).collect();
        if let Some(first) = self.burst.first() {
            let count = first.count;
            lines.insert(0, format!("burst of {count}, full level, until the program runs:"));
        }
        lines
    }
}

impl Row {
    fn line(&self, own_p50_us: f64) -> String {
        let Self { tool, version, p50_us, p99_us, .. } = self;
        let (p50, p99, times) = (p50_us / 1e3, p99_us / 1e3, p50_us / own_p50_us);
        let mut line = format!(
            "  {tool:<8} {version:<9} p50 {p50:7.2} ms   p99 {p99:7.2} ms   {times:6.2} x   "
        );
        let lacks = if self.lacks.is_empty() { "nothing".into() } else { summed_up(&self.lacks) };
        line.push_str(&format!("lacks {lacks}"));
        // leanbox's note says it shorter.
        if !self.beyond.is_empty() && *tool != Tool::Leanbox.name() {
            line.push_str(&format!("; has {}", self.beyond.join(", ")));
        }
        line + &self.note.map_or_else(String::new, |note| format!("; {note}"))
    }
}

/// The names in a line; all of the namespaces as one.
fn summed_up(names: &[&str]) -> String {
    let level = Level::Namespaces.features().iter().map(|feature| feature.name());
    let namespaces: Vec<&str> = level.filter(|name| name.ends_with("namespace")).collect();
    if !namespaces.iter().all(|name| names.contains(name)) {
        return names.join(", ");
    }
    let others = names.iter().copied().filter(|name| !namespaces.contains(name));
    ["the namespaces"].into_iter().chain(others).collect::<Vec<_>>().join(", ")
}

impl Absent {
    /// What failed at one level.
    pub(crate) fn at(tool: Tool, level: Level, error: &leanbox::Error) -> Self {
        Self { tool: tool.name(), level: Some(level), reason: error.to_string() }
    }

    pub(crate) fn line(&self) -> String {
        let at = self.level.map_or_else(String::new, |level| format!(" at level {}", level.name()));
        format!("  {:<8} not compared{at}: {}", self.tool, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_a_tool_lacks_and_what_it_has_beyond() {
        let samples = [Duration::from_millis(2)];
        let row = Row::of(Tool::Bwrap, "0.8.0", Level::Limits, &samples);
        let line = row.line(1000.0);
        assert!(
            line.contains("2.00 x   lacks memory limit, pids limit; has no_new_privs"),
            "{line}"
        );
        let own = Row::of(Tool::Leanbox, "1", Level::Namespaces, &samples);
        let none = Row::of(Tool::Sandlock, "1", Level::Limits, &samples).line(1.0);
        assert!(none.contains("lacks the namespaces, pivot_root; has"), "{none}");
        assert!(own.line(2000.0).ends_with("1.00 x   lacks nothing; always with everything"));
    }
}
