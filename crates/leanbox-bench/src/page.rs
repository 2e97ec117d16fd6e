//! One self-contained HTML page, or one picture, of any mix of benchmark reports.
//!
//! In: files that `leanbox bench … --json` wrote, read and checked as [`Source`]s. Out: the
//! text of a page with tables and charts for light and dark screens, phones and paper, or of an
//! SVG picture of the main chart. It measures nothing, writes no file, and what it makes loads
//! nothing from anywhere.

mod axis;
mod benchmarks;
mod chart;
mod draw;
mod html;
mod input;
mod machine;
mod numbers;
mod palette;
mod picture;
mod section;
mod sections;
mod table;
mod text;

pub use input::Source;

use leanbox::Result;

/// The page: machine, summary, a section for each source in the order given, words.
///
/// # Errors
/// A chart cannot be drawn.
pub fn html(sources: &[Source]) -> Result<String> {
    html::page(sources, &sections::of_all(sources))
}

/// The main chart as a picture for a README: throughput over processes if a sweep is among the
/// sources, else the distribution of a start's latency, else the first chart there is.
///
/// # Errors
/// A chart cannot be drawn.
pub fn svg(sources: &[Source]) -> Result<String> {
    let sections = sections::of_all(sources);
    picture::of(sources, &sections)
}

#[cfg(test)]
mod tests;
