//! Lines: a mesh with few ticks, marks where the points are few, each line's name at its end.

use super::canvas::{
    Align, Canvas, Drawing, Frame, fill, on_canvas, pixels, refused, stroke, style, units,
};
use crate::page::axis::Axis;
use crate::page::chart::{AxisPlan, Lines, Role, Scale, Series};
use crate::page::numbers::{self, Unit};
use crate::page::palette::{self, Colour};
use leanbox::Result;
use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::element::{Circle, Cross, TriangleMarker};
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::FontStyle;

/// More points than this have no marks.
const MARKED_MAX: usize = 32;
const TICK_PX: i32 = 4;

type Context<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Axis, Axis>>;

/// What stands around the plot.
struct Margins {
    top: i32,
    right: i32,
    bottom: i32,
    left: i32,
}

pub(super) fn draw(lines: &Lines, frame: &Frame) -> Result<Drawing> {
    let height_px = frame.heading_px() + if frame.is_narrow() { 280 } else { 360 };
    on_canvas(frame, height_px, |canvas| paint(lines, frame, height_px, canvas))
}

fn paint(lines: &Lines, frame: &Frame, height_px: i32, canvas: &Canvas<'_>) -> Result<()> {
    let points = || lines.series.iter().flat_map(|series| &series.points);
    let x = Axis::of(&lines.x, points().map(|point| point.0));
    let y = Axis::of(&lines.y, points().map(|point| point.1));
    let margins = margins(lines, &y, frame);
    let plot_px = frame.width_px - margins.left - margins.right;
    let labelled = thinned(&x, &lines.x, frame, plot_px);
    let mut chart = ChartBuilder::on(&canvas.area)
        .margin_top(units(margins.top))
        .margin_right(units(margins.right))
        .margin_bottom(units(margins.bottom))
        .x_label_area_size(units(24))
        .y_label_area_size(units(margins.left))
        .build_cartesian_2d(x, y)
        .map_err(refused)?;
    mesh(&mut chart, lines, frame, &labelled)?;
    for series in &lines.series {
        line(&mut chart, series)?;
    }
    names(&chart, lines, frame, canvas, margins.right)?;
    let soft = palette::SOFT;
    canvas.text(&lines.y.label, (2, margins.top - 16), Align::Left, soft)?;
    let middle = margins.left + plot_px / 2;
    canvas.text(&lines.x.label, (middle, height_px - 11), Align::Middle, soft)
}

fn margins(lines: &Lines, y: &Axis, frame: &Frame) -> Margins {
    let widest = |texts: &mut dyn Iterator<Item = i32>| texts.max().unwrap_or(0);
    let labels = widest(&mut y.ticks.iter().map(|tick| frame.text_px(&label(*tick, &lines.y))));
    let names = widest(&mut lines.series.iter().map(|series| frame.bold_px(&series.name)));
    Margins {
        top: frame.heading_px() + 32,
        right: names.min(frame.width_px / 3) + 18,
        bottom: 22,
        left: labels + 14,
    }
}

fn label(value: f64, plan: &AxisPlan) -> String {
    match plan.scale {
        Scale::Tail if value >= 1.0 => "max".into(),
        // Round numbers of KiB are none of MiB.
        _ if plan.unit == Unit::Kib => format!("{}\u{a0}KiB", numbers::short(value)),
        _ => numbers::with_unit(value, plan.unit),
    }
}

/// The ticks whose labels do not run into each other; the first and the last are always there.
fn thinned(axis: &Axis, plan: &AxisPlan, frame: &Frame, plot_px: i32) -> Vec<f64> {
    let place = |tick: f64| axis.fraction(tick) * f64::from(plot_px);
    let half = |tick: f64| f64::from(frame.text_px(&label(tick, plan)) + 8) / 2.0;
    let apart = |a: f64, b: f64| place(b) - place(a) >= half(a) + half(b);
    let Some(last) = axis.ticks.last().copied() else { return Vec::new() };
    let mut kept: Vec<f64> = Vec::new();
    for tick in axis.ticks.iter().copied() {
        let fits = kept.last().is_none_or(|before| apart(*before, tick));
        if fits && (kept.is_empty() || tick == last || apart(tick, last)) {
            kept.push(tick);
        }
    }
    kept
}

fn mesh(chart: &mut Context<'_>, lines: &Lines, frame: &Frame, labelled: &[f64]) -> Result<()> {
    let text = |align| style(frame.font_px, FontStyle::Normal, align, palette::SOFT);
    let x_label = |value: &f64| match labelled.contains(value) {
        true => label(*value, &lines.x),
        false => String::new(),
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(stroke(palette::RULE, 4))
        .axis_style(stroke(palette::AXIS, 4))
        .set_all_tick_mark_size(units(TICK_PX))
        .x_label_style(text(Align::Middle))
        .y_label_style(text(Align::Right))
        .x_label_formatter(&x_label)
        .y_label_formatter(&|value| label(*value, &lines.y))
        .draw()
        .map_err(refused)
}

fn line(chart: &mut Context<'_>, series: &Series) -> Result<()> {
    let colour = Colour::of(series.role);
    let points = || series.points.iter().copied();
    let drawn = match series.role {
        Role::Floor => chart
            .draw_series(DashedLineSeries::new(points(), units(5), units(3), stroke(colour, 7)))
            .map(drop),
        _ => chart.draw_series(LineSeries::new(points(), stroke(colour, 8))).map(drop),
    };
    drawn.map_err(refused)?;
    if series.points.len() > MARKED_MAX {
        return Ok(());
    }
    let drawn = match series.role {
        Role::Own => {
            chart.draw_series(points().map(|at| Circle::new(at, units(4), fill(colour)))).map(drop)
        }
        Role::Other => chart
            .draw_series(points().map(|at| TriangleMarker::new(at, units(5), fill(colour))))
            .map(drop),
        Role::Floor => chart
            .draw_series(points().map(|at| Cross::new(at, units(3), stroke(colour, 7))))
            .map(drop),
    };
    drawn.map_err(refused)
}

/// Each line's name right of its last point, moved apart where they would meet.
fn names(
    chart: &Context<'_>,
    lines: &Lines,
    frame: &Frame,
    canvas: &Canvas<'_>,
    room_px: i32,
) -> Result<()> {
    let (across, down) = chart.plotting_area().get_pixel_range();
    let named = lines.series.iter().filter_map(|series| {
        let last = series.points.last()?;
        Some((pixels(chart.backend_coord(last).1), series))
    });
    let mut named: Vec<(i32, &Series)> = named.collect();
    named.sort_by_key(|(y, _)| *y);
    let wanted: Vec<i32> = named.iter().map(|(y, _)| *y).collect();
    let places = apart(&wanted, frame.font_px + 3, pixels(down.start), pixels(down.end));
    let x = pixels(across.end) + 10;
    for ((_, series), y) in named.iter().zip(places) {
        let name = frame.cut_bold(&series.name, room_px - 14);
        canvas.bold(&name, (x, y), Align::Left, Colour::of(series.role))?;
    }
    Ok(())
}

/// The places, in order, moved so that each is `gap` from the next and all are within.
fn apart(wanted: &[i32], gap: i32, top: i32, bottom: i32) -> Vec<i32> {
    let mut places = wanted.to_vec();
    let mut least = top;
    for place in &mut places {
        *place = (*place).max(least);
        least = *place + gap;
    }
    let mut most = bottom;
    for place in places.iter_mut().rev() {
        *place = (*place).min(most);
        most = *place - gap;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_meet_are_moved_apart() {
        assert_eq!(apart(&[10, 11, 50], 16, 0, 100), [10, 26, 50]);
        assert_eq!(apart(&[98, 99, 100], 16, 0, 100), [68, 84, 100]);
        assert_eq!(apart(&[], 16, 0, 100), [0; 0]);
    }

    #[test]
    fn labels_that_would_meet_are_left_out_but_not_the_first_and_last() {
        let plan = AxisPlan {
            label: String::new(),
            unit: Unit::Count,
            scale: Scale::Log,
            ticks_at_points: true,
        };
        let axis = Axis::of(&plan, (1..=24).map(f64::from));
        let kept = thinned(&axis, &plan, &Frame::NARROW, 230);
        assert_eq!((kept.first(), kept.last()), (Some(&1.0), Some(&24.0)));
        assert!((5..15).contains(&kept.len()), "{kept:?}");
    }
}
