//! From a chart to a drawing by the plotters library: shapes and texts of an SVG, in the light
//! colours of the palette. Texts of others are escaped by the library.

mod bars;
mod canvas;
mod lines;

pub(crate) use canvas::{Drawing, Frame};

use super::chart::Chart;
use leanbox::Result;

/// Draws it.
///
/// # Errors
/// The library refuses, which it has no reason to.
pub(crate) fn draw(chart: &Chart, frame: &Frame) -> Result<Drawing> {
    match chart {
        Chart::Lines(lines) => lines::draw(lines, frame),
        Chart::Bars(bars) => bars::draw(bars, frame),
    }
}
