//! Bars from 0, one below the other, with names before (or above, where it is narrow) and
//! values behind them.

use super::canvas::{
    Align, Canvas, Drawing, Frame, fill, on_canvas, pixels, refused, stroke, units,
};
use crate::page::axis::Axis;
use crate::page::chart::{Bar, Bars};
use crate::page::palette::{self, Colour};
use leanbox::Result;
use plotters::chart::ChartBuilder;
use plotters::element::{PathElement, Rectangle};

const BAR_PX: i32 = 16;
const GROUP_PX: i32 = 34;

/// Where the rows stand.
struct Layout {
    top: i32,
    left: i32,
    right: i32,
    row: i32,
    /// What a name above its bar takes.
    above: i32,
}

pub(super) fn draw(bars: &Bars, frame: &Frame) -> Result<Drawing> {
    let layout = layout(bars, frame);
    let rows: i32 = bars.rows.iter().map(|bar| height(bar, &layout)).sum();
    let height_px = layout.top + rows + 6;
    on_canvas(frame, height_px, |canvas| paint(bars, frame, &layout, rows, canvas))
}

fn layout(bars: &Bars, frame: &Frame) -> Layout {
    let widest = |texts: &mut dyn Iterator<Item = &str>| {
        texts.map(|text| frame.text_px(text)).max().unwrap_or(0)
    };
    let names = widest(&mut bars.rows.iter().map(|bar| bar.name.as_str()));
    let texts = widest(
        &mut bars.rows.iter().filter(|bar| bar.value.is_some()).map(|bar| bar.text.as_str()),
    );
    let narrow = frame.is_narrow();
    Layout {
        top: frame.heading_px() + 28,
        left: if narrow { 2 } else { names.min(frame.width_px * 2 / 5) + 12 },
        right: texts.min(frame.width_px / 2) + 14,
        row: if narrow { 44 } else { 26 },
        above: if narrow { 20 } else { 0 },
    }
}

fn height(bar: &Bar, layout: &Layout) -> i32 {
    layout.row + if bar.group.is_some() { GROUP_PX } else { 0 }
}

fn paint(
    bars: &Bars,
    frame: &Frame,
    layout: &Layout,
    rows: i32,
    canvas: &Canvas<'_>,
) -> Result<()> {
    let longest = bars.rows.iter().filter_map(|bar| bar.value).fold(0.0, f64::max);
    let longest = if longest > 0.0 { longest } else { 1.0 };
    let mut chart = ChartBuilder::on(&canvas.area)
        .margin_top(units(layout.top))
        .margin_left(units(layout.left))
        .margin_right(units(layout.right))
        .margin_bottom(units(6))
        .build_cartesian_2d(Axis::plain(0.0, longest), Axis::plain(f64::from(rows), 0.0))
        .map_err(refused)?;
    canvas.text(&bars.label, (2, layout.top - 14), Align::Left, palette::SOFT)?;
    let mut y = 0;
    for bar in &bars.rows {
        if let Some(group) = &bar.group {
            let group = frame.cut_bold(group, frame.width_px - 4);
            canvas.bold(&group, (2, layout.top + y + GROUP_PX - 13), Align::Left, palette::INK)?;
            y += GROUP_PX;
        }
        let top = y + layout.above + (layout.row - layout.above - BAR_PX) / 2;
        let middle = layout.top + top + BAR_PX / 2;
        let (from, to) = (f64::from(top), f64::from(top + BAR_PX));
        let value = bar.value.unwrap_or(0.0);
        let shape = Rectangle::new([(0.0, from), (value, to)], fill(Colour::of(bar.role)));
        let base =
            PathElement::new(vec![(0.0, from - 3.0), (0.0, to + 3.0)], stroke(palette::AXIS, 4));
        chart.draw_series([shape]).map_err(refused)?;
        chart.draw_series([base]).map_err(refused)?;
        let end = pixels(chart.backend_coord(&(value, from)).0);
        name(bar, frame, layout, (y, middle), canvas)?;
        let room = frame.width_px - end - 8;
        canvas.text(&frame.cut(&bar.text, room), (end + 6, middle), Align::Left, palette::INK)?;
        y += layout.row;
    }
    Ok(())
}

fn name(
    bar: &Bar,
    frame: &Frame,
    layout: &Layout,
    (row, middle): (i32, i32),
    canvas: &Canvas<'_>,
) -> Result<()> {
    if frame.is_narrow() {
        let text = frame.cut(&bar.name, frame.width_px - 4);
        return canvas.text(&text, (2, layout.top + row + 13), Align::Left, palette::INK);
    }
    let text = frame.cut(&bar.name, layout.left - 10);
    canvas.text(&text, (layout.left - 8, middle), Align::Right, palette::INK)
}
