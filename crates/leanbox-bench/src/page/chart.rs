//! Charts as values: lines over an axis, or bars. What draws them knows no benchmark.

use super::numbers::Unit;

#[derive(Debug, Clone)]
pub(crate) enum Chart {
    Lines(Lines),
    Bars(Bars),
}

/// Whose values they are: gives colour, stroke and mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// leanbox itself, or the first of several of its values.
    Own,
    /// What it is compared with, or the second.
    Other,
    /// The floor, or the third.
    Floor,
}

#[derive(Debug, Clone)]
pub(crate) struct Lines {
    pub(crate) title: String,
    pub(crate) x: AxisPlan,
    pub(crate) y: AxisPlan,
    pub(crate) series: Vec<Series>,
}

#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) points: Vec<(f64, f64)>,
}

#[derive(Debug, Clone)]
pub(crate) struct AxisPlan {
    pub(crate) label: String,
    pub(crate) unit: Unit,
    pub(crate) scale: Scale,
    /// Ticks stand at the points' values instead of at round ones.
    pub(crate) ticks_at_points: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// From 0.
    Linear,
    Log,
    /// Quantiles, each nine as wide as the one before.
    Tail,
}

#[derive(Debug, Clone)]
pub(crate) struct Bars {
    pub(crate) title: String,
    /// What a bar's length is.
    pub(crate) label: String,
    pub(crate) rows: Vec<Bar>,
}

#[derive(Debug, Clone)]
pub(crate) struct Bar {
    /// A heading before the first bar of a group.
    pub(crate) group: Option<String>,
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Without one there is only the text.
    pub(crate) value: Option<f64>,
    /// Stands behind the bar.
    pub(crate) text: String,
}

impl Chart {
    pub(crate) fn title(&self) -> &str {
        match self {
            Self::Lines(lines) => &lines.title,
            Self::Bars(bars) => &bars.title,
        }
    }

    /// Nothing could be seen in it.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Lines(lines) => lines.series.iter().all(|series| series.points.is_empty()),
            Self::Bars(bars) => bars.rows.iter().all(|bar| bar.value.is_none()),
        }
    }
}
