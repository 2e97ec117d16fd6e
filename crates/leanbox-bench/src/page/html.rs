//! From sections to the page. Style and script are its own; it loads nothing, and its policy
//! forbids it to.

mod markup;
mod tables;

use super::Source;
use super::draw::{Drawing, Frame, draw};
use super::machine::{self, Machine};
use super::palette;
use super::section::{Part, Section};
use leanbox::Result;
use markup::Html;
pub(crate) use markup::escaped;

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");
/// A longer value has a line of its own.
const LONG_CHARS: usize = 48;
/// Only this script runs, whatever a report may say.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
    script-src 'sha256-yubME7Pl9KEuGrzNKC+uHqIeHKSAp1uywjNl4I3dPrI='";

const WORDS: &[(&str, &str)] = &[
    ("p50, p99, max", "half, 99 of 100, all of the measured times are at most that long"),
    (
        "floor",
        "what the kernel needs for a process that does nothing: vfork or fork, exit, wait; with exec for mode exec",
    ),
    ("classic", "the critical path of the original lean container, as leanbox implements it"),
    (
        "mode noop, exec, fork",
        "the container exits at once; executes a program that does nothing; is a call that returns twice",
    ),
    (
        "policy once, reuse, shared",
        "a fresh slot for every start; slots that serve again after a reset; no slots, and no security boundary",
    ),
];

/// The whole page.
///
/// # Errors
/// A chart cannot be drawn.
pub(crate) fn page(sources: &[Source], sections: &[Section]) -> Result<String> {
    let mut html = Html::default();
    head(&mut html);
    let count = sources.len();
    html.raw("<header><h1>leanbox benchmarks</h1><p>");
    html.text(&format!("{count} report{}", if count == 1 { "" } else { "s" }));
    html.raw("</p><button type=\"button\" hidden></button></header>\n<main>\n");
    machines(&mut html, &machine::of_all(sources));
    summary(&mut html, sections);
    for (index, section) in sections.iter().enumerate() {
        self::section(&mut html, index, section)?;
    }
    words(&mut html);
    html.raw("</main>\n<footer><p>Made by ");
    html.text(concat!("leanbox bench report ", env!("CARGO_PKG_VERSION")));
    html.raw(". Nothing on this page is loaded from elsewhere.</p></footer>\n<script>");
    html.raw(SCRIPT);
    html.raw("</script>\n</body>\n</html>\n");
    Ok(html.finish())
}

fn head(html: &mut Html) {
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"");
    html.raw(POLICY);
    html.raw("\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.raw("<title>leanbox benchmarks</title>\n<style>\n");
    html.own(&palette::page_css());
    html.raw("\n");
    html.raw(STYLE);
    html.raw("</style>\n</head>\n<body>\n");
}

fn machines(html: &mut Html, machines: &[Machine]) {
    html.raw("<section><h2>Machine</h2>\n");
    for machine in machines {
        if machines.len() > 1 {
            html.raw("<h3>");
            html.text(&machine.sources.join(", "));
            html.raw("</h3>\n");
        }
        match machine.facts.is_empty() {
            true => html.raw("<p>The reports do not name their machine.</p>\n"),
            false => facts(html, &machine.facts),
        }
        if !machine.noisy.is_empty() {
            let noisy =
                format!("noisy during {}; see the warnings below", machine.noisy.join(", "));
            facts(html, &[(machine::WARNING.into(), noisy)]);
        }
    }
    html.raw("</section>\n");
}

fn facts(html: &mut Html, facts: &[(String, String)]) {
    html.raw("<dl>");
    for (name, value) in facts {
        html.raw(match name == machine::WARNING {
            true => "<div class=\"warning\"><dt>",
            false if value.chars().count() > LONG_CHARS => "<div class=\"long\"><dt>",
            false => "<div><dt>",
        });
        html.text(name);
        html.raw("</dt><dd>");
        html.text(value);
        html.raw("</dd></div>");
    }
    html.raw("</dl>\n");
}

fn summary(html: &mut Html, sections: &[Section]) {
    html.raw(
        "<section class=\"summary\"><h2>Summary</h2>\n<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"Summary\"><table>",
    );
    html.raw("<thead><tr><th scope=\"col\">benchmark</th><th scope=\"col\">result</th>");
    html.raw("<th scope=\"col\">report</th></tr></thead>\n<tbody>");
    for (index, section) in sections.iter().enumerate() {
        html.raw("<tr><th scope=\"row\"><a href=\"#s");
        html.number(index + 1);
        html.raw("\">");
        html.text(&section.heading);
        html.raw("</a></th><td>");
        html.text(&section.headline);
        html.raw("</td><td>");
        html.text(&section.source);
        html.raw("</td></tr>\n");
    }
    html.raw("</tbody></table></div></section>\n");
}

fn section(html: &mut Html, index: usize, section: &Section) -> Result<()> {
    html.raw("<section id=\"s");
    html.number(index + 1);
    html.raw("\"><h2>");
    html.text(&section.heading);
    html.raw("</h2>\n<p class=\"source\">");
    html.text(&section.source);
    html.raw("</p>\n");
    if !section.facts.is_empty() {
        facts(html, &section.facts);
    }
    for (nth, part) in section.parts.iter().enumerate() {
        self::part(html, (index + 1, nth + 1), part)?;
    }
    html.raw("</section>\n");
    Ok(())
}

/// The sentence stands once, above the chart; the drawings refer to it.
fn part(html: &mut Html, (section, nth): (usize, usize), part: &Part) -> Result<()> {
    html.raw("<article><h3>");
    html.text(&part.heading);
    html.raw("</h3>\n<p>");
    html.text(&part.sentence);
    html.raw("</p>\n");
    if let Some(chart) = &part.chart {
        html.raw("<figure>");
        for (frame, class) in [(Frame::WIDE, "wide"), (Frame::NARROW, "narrow")] {
            let id = format!("c{section}-{nth}-{class}");
            svg(html, &draw(chart, &frame)?, class, &id, chart.title(), &part.sentence);
        }
        html.raw("</figure>\n");
    }
    tables::table(html, &part.table);
    html.raw("</article>\n");
    Ok(())
}

fn svg(html: &mut Html, drawing: &Drawing, class: &'static str, id: &str, title: &str, desc: &str) {
    html.raw("<svg role=\"img\" class=\"");
    html.raw(class);
    html.raw("\" viewBox=\"");
    html.text(&drawing.view_box(0).map(|number| number.to_string()).join(" "));
    html.raw("\" aria-labelledby=\"");
    html.text(&format!("{id}-t {id}-d"));
    html.raw("\"><title id=\"");
    html.text(&format!("{id}-t"));
    html.raw("\">");
    html.text(title);
    html.raw("</title><desc id=\"");
    html.text(&format!("{id}-d"));
    html.raw("\">");
    html.text(desc);
    html.raw("</desc>\n");
    html.own(&drawing.body);
    html.raw("</svg>\n");
}

fn words(html: &mut Html) {
    html.raw("<section><h2>Words</h2>\n<dl class=\"words\">");
    for (word, meaning) in WORDS {
        html.raw("<div><dt>");
        html.raw(word);
        html.raw("</dt><dd>");
        html.raw(meaning);
        html.raw("</dd></div>\n");
    }
    html.raw("</dl></section>\n");
}
