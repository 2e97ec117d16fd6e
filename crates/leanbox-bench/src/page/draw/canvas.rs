//! What all drawings share: sizes, text, and the way from the library's SVG to its inside.

use crate::page::palette::{self, Colour};
use crate::page::text::plain;
use leanbox::{Error, Result};
use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::Text;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle};

/// The library draws on whole numbers: this many for a pixel.
const PER_PIXEL: i32 = 4;
/// What the library divides sizes of fonts by.
const FONT_FACTOR: f64 = 1.24;
/// A character's width in sizes of the font: sans-serifs are about that wide.
const CHAR_WIDTH: f64 = 0.56;
/// How much wider bold text is, at most.
const BOLD_WIDTH: f64 = 1.25;
/// How much larger a title is.
const TITLE_PX: i32 = 4;

/// For what size to draw.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) width_px: i32,
    pub(crate) font_px: i32,
    /// Title and line below it, in the picture itself.
    pub(crate) heading: Option<(String, String)>,
}

impl Frame {
    /// For screens and paper.
    pub(crate) const WIDE: Self = Self { width_px: 720, font_px: 13, heading: None };
    /// For phones.
    pub(crate) const NARROW: Self = Self { width_px: 360, font_px: 12, heading: None };

    pub(crate) fn is_narrow(&self) -> bool {
        self.width_px < 500
    }

    /// What the heading takes.
    pub(crate) fn heading_px(&self) -> i32 {
        if self.heading.is_some() { 52 } else { 0 }
    }

    /// A text's width, about.
    pub(crate) fn text_px(&self, text: &str) -> i32 {
        self.chars_px(text, CHAR_WIDTH)
    }

    /// The same in bold.
    pub(crate) fn bold_px(&self, text: &str) -> i32 {
        self.chars_px(text, CHAR_WIDTH * BOLD_WIDTH)
    }

    #[allow(clippy::cast_possible_truncation, reason = "texts are short")]
    fn chars_px(&self, text: &str, width: f64) -> i32 {
        let chars = f64::from(u16::try_from(text.chars().count()).unwrap_or(u16::MAX));
        (chars * width * f64::from(self.font_px)).ceil() as i32
    }

    /// The same of a bold text.
    pub(crate) fn cut_bold(&self, text: &str, width_px: i32) -> String {
        self.cut(text, width_px * 4 / 5)
    }

    /// The text, or its beginning where it is wider than that.
    pub(crate) fn cut(&self, text: &str, width_px: i32) -> String {
        if self.text_px(text) <= width_px {
            return text.to_string();
        }
        let fits = |len: &usize| {
            let head: String = text.chars().take(*len).collect();
            self.text_px(&head) + self.font_px <= width_px
        };
        let len = (1..text.chars().count()).rev().find(fits).unwrap_or(1);
        text.chars().take(len).chain(['…']).collect()
    }
}

/// A finished drawing.
#[derive(Debug, Clone)]
pub(crate) struct Drawing {
    pub(crate) width_px: i32,
    pub(crate) height_px: i32,
    /// Elements of an SVG.
    pub(crate) body: String,
}

impl Drawing {
    /// The coordinates of the body with so much around it: x, y, width and height.
    pub(crate) fn view_box(&self, around_px: i32) -> [i32; 4] {
        let size = |px: i32| units(px + 2 * around_px);
        [units(-around_px), units(-around_px), size(self.width_px), size(self.height_px)]
    }
}

/// Where to draw.
pub(crate) struct Canvas<'a> {
    pub(crate) area: DrawingArea<SVGBackend<'a>, Shift>,
    frame: &'a Frame,
}

/// Where a text stands to its point.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Align {
    Left,
    Middle,
    Right,
}

/// Makes a drawing of that height with what `paint` puts on it.
pub(crate) fn on_canvas(
    frame: &Frame,
    height_px: i32,
    paint: impl FnOnce(&Canvas<'_>) -> Result<()>,
) -> Result<Drawing> {
    let size = |px: i32| u32::try_from(px * PER_PIXEL).unwrap_or(1);
    let mut svg = String::new();
    let backend = SVGBackend::with_string(&mut svg, (size(frame.width_px), size(height_px)));
    let canvas = Canvas { area: backend.into_drawing_area(), frame };
    canvas.heading()?;
    paint(&canvas)?;
    canvas.area.present().map_err(refused)?;
    drop(canvas);
    let inside = svg.split_once('>').map_or("", |(_, inside)| inside);
    let inside = inside.trim().trim_end_matches("</svg>");
    let body = inside.replace(" opacity=\"1\"", "").replace("\n</text>", "</text>");
    Ok(Drawing { width_px: frame.width_px, height_px, body })
}

impl Canvas<'_> {
    /// A text at a place in pixels, upright in the middle of its line.
    pub(crate) fn text(
        &self,
        text: &str,
        at: (i32, i32),
        align: Align,
        colour: Colour,
    ) -> Result<()> {
        self.put(text, at, &style(self.frame.font_px, FontStyle::Normal, align, colour))
    }

    /// The same in bold.
    pub(crate) fn bold(
        &self,
        text: &str,
        at: (i32, i32),
        align: Align,
        colour: Colour,
    ) -> Result<()> {
        self.put(text, at, &style(self.frame.font_px, FontStyle::Bold, align, colour))
    }

    fn put(&self, text: &str, (x, y): (i32, i32), style: &TextStyle<'_>) -> Result<()> {
        let place = (units(x), units(y));
        self.area.draw(&Text::new(plain(text), place, style.clone())).map_err(refused)
    }

    fn heading(&self) -> Result<()> {
        let Some((title, below)) = &self.frame.heading else { return Ok(()) };
        let size = self.frame.font_px + TITLE_PX;
        let title_style = style(size, FontStyle::Bold, Align::Left, palette::INK);
        let title = self.frame.cut_bold(title, self.frame.width_px * self.frame.font_px / size);
        self.put(&title, (2, 12), &title_style)?;
        let below = self.frame.cut(below, self.frame.width_px - 4);
        self.text(&below, (2, 34), Align::Left, palette::SOFT)
    }
}

/// A text's style.
pub(crate) fn style(
    font_px: i32,
    weight: FontStyle,
    align: Align,
    colour: Colour,
) -> TextStyle<'static> {
    let across = match align {
        Align::Left => HPos::Left,
        Align::Middle => HPos::Center,
        Align::Right => HPos::Right,
    };
    let family = FontFamily::Name("system-ui, -apple-system, sans-serif");
    let font = FontDesc::new(family, f64::from(units(font_px)) * FONT_FACTOR, weight);
    TextStyle { font, color: rgb(colour).to_backend_color(), pos: Pos::new(across, VPos::Center) }
}

/// A line of that many quarters of a pixel.
pub(crate) fn stroke(colour: Colour, quarters: u32) -> ShapeStyle {
    ShapeStyle { color: rgb(colour).into(), filled: false, stroke_width: quarters }
}

/// A filled shape.
pub(crate) fn fill(colour: Colour) -> ShapeStyle {
    ShapeStyle { color: rgb(colour).into(), filled: true, stroke_width: 0 }
}

fn rgb(colour: Colour) -> RGBColor {
    let (red, green, blue) = colour.light;
    RGBColor(red, green, blue)
}

/// Pixels as the library's numbers.
pub(crate) fn units(px: i32) -> i32 {
    px * PER_PIXEL
}

/// The library's numbers as pixels.
pub(crate) fn pixels(units: i32) -> i32 {
    units / PER_PIXEL
}

/// The library's error as ours.
pub(crate) fn refused(error: impl std::fmt::Display) -> Error {
    Error::invalid(format!("a chart cannot be drawn: {error}"))
}
