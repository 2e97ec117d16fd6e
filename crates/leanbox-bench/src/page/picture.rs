//! The main chart as one SVG file that stands alone, on a ground of its own.

use super::Source;
use super::chart::Chart;
use super::draw::{Frame, draw};
use super::html::escaped;
use super::machine;
use super::palette;
use super::section::{Part, Section};
use leanbox::{Error, Result};

/// Ground around the drawing.
const AROUND_PX: i32 = 16;
/// The parts' headings whose first chart is the main one, the best first.
const MAIN: [&str; 3] = ["Throughput", "Latency distribution", "Medians"];

pub(super) fn of(sources: &[Source], sections: &[Section]) -> Result<String> {
    let (index, part, chart) = main(sections).ok_or_else(|| {
        Error::invalid("no report has anything to draw a chart of")
            .remedy("give one of leanbox bench sweep or start")
    })?;
    let below = below(&sources[index], part);
    let heading = Some((chart.title().to_string(), below));
    let drawing = draw(chart, &Frame { heading, ..Frame::WIDE })?;
    let [x, y, across, down] = drawing.view_box(AROUND_PX);
    let (width, height) = (drawing.width_px + 2 * AROUND_PX, drawing.height_px + 2 * AROUND_PX);
    let (title, desc) = (escaped(chart.title()), escaped(&part.sentence));
    let (style, paper) = (palette::picture_css(), palette::PAPER.shown());
    let body = drawing.body;
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"{x} {y} {across} {down}\" role=\"img\" aria-labelledby=\"t d\">\n\
         <title id=\"t\">{title}</title>\n<desc id=\"d\">{desc}</desc>\n<style>{style}</style>\n\
         <rect x=\"{x}\" y=\"{y}\" width=\"{across}\" height=\"{down}\" fill=\"{paper}\"/>\n{body}</svg>\n"
    ))
}

/// The main chart and the number of its section.
fn main(sections: &[Section]) -> Option<(usize, &Part, &Chart)> {
    let parts = sections.iter().enumerate();
    let parts =
        parts.flat_map(|(index, section)| section.parts.iter().map(move |part| (index, part)));
    let charts = parts.filter_map(|(index, part)| Some((index, part, part.chart.as_ref()?)));
    let place = |part: &Part| {
        MAIN.iter().position(|heading| part.heading == *heading).unwrap_or(MAIN.len())
    };
    charts.min_by_key(|(_, part, _)| place(part))
}

/// One line: unit and machine.
fn below(source: &Source, part: &Part) -> String {
    let machine = machine::of_all(std::slice::from_ref(source));
    let facts = machine.iter().flat_map(|machine| &machine.facts);
    let known = facts.filter(|(name, _)| matches!(name.as_str(), "kernel" | "CPU" | "CPUs"));
    let said: Vec<String> = known
        .map(|(name, value)| match name.as_str() {
            "kernel" => format!("Linux {}", value.trim_start_matches("Linux ")),
            "CPUs" => format!("{value} CPUs"),
            _ => value.clone(),
        })
        .collect();
    let words = [part.teardown.words().to_string()].into_iter().chain(said);
    words.filter(|words| !words.is_empty()).collect::<Vec<_>>().join(" · ")
}
