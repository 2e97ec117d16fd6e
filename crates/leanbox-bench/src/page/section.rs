//! A part of the page as values: what was measured, under which conditions, charts and tables.

use super::chart::Chart;
use super::table::Table;

/// One source's part of the page.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(crate) heading: String,
    /// The file it is of.
    pub(crate) source: String,
    /// One line for the summary: the figure that counts.
    pub(crate) headline: String,
    /// Names and values: mode, policy, seconds, totals.
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) parts: Vec<Part>,
}

/// A chart with what it shows in words and the same in a table.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) heading: String,
    /// What is measured, unit, policy, whether teardown is included.
    pub(crate) sentence: String,
    pub(crate) teardown: Teardown,
    pub(crate) chart: Option<Chart>,
    pub(crate) table: Table,
}

/// What of a container's end the figures include.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Teardown {
    /// Making, reset and teardown are work of the same time.
    Included,
    /// The clock stops when the outcome is known.
    NotIncluded,
    /// As far as the tool does it before it returns.
    OfTool,
    /// There is none in what is measured.
    None,
}

impl Teardown {
    /// In a few words; nothing where there is none.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Included => "making and teardown included",
            Self::NotIncluded => "teardown not included",
            Self::OfTool => "what the tool tears down included",
            Self::None => "",
        }
    }
}
