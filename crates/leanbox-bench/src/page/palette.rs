//! The colours: few, told apart by people who see no red or green too, each with one for light
//! and one for dark. Drawings carry the light ones; style sheets put the others over them.

use super::chart::Role;
use std::fmt::Write;

/// A colour by its name in the style sheet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Colour {
    pub(crate) name: &'static str,
    pub(crate) light: (u8, u8, u8),
    dark: (u8, u8, u8),
}

const fn colour(name: &'static str, light: (u8, u8, u8), dark: (u8, u8, u8)) -> Colour {
    Colour { name, light, dark }
}

// No two alike in light: a drawing's colours are told apart by their value.
pub(crate) const PAPER: Colour = colour("paper", (0xfd, 0xfd, 0xfc), (0x15, 0x18, 0x1b));
pub(crate) const INK: Colour = colour("ink", (0x1c, 0x20, 0x24), (0xe7, 0xe9, 0xea));
pub(crate) const SOFT: Colour = colour("soft", (0x58, 0x5f, 0x66), (0xa6, 0xad, 0xb3));
pub(crate) const RULE: Colour = colour("rule", (0xe1, 0xe3, 0xe5), (0x2f, 0x35, 0x3a));
pub(crate) const AXIS: Colour = colour("axis", (0x9a, 0xa0, 0xa6), (0x6a, 0x72, 0x79));
pub(crate) const OWN: Colour = colour("own", (0x00, 0x66, 0xa6), (0x6c, 0xb8, 0xee));
pub(crate) const OTHER: Colour = colour("other", (0xb2, 0x4a, 0x00), (0xf2, 0x9a, 0x4e));
pub(crate) const FLOOR: Colour = colour("floor", (0x6b, 0x70, 0x75), (0xa9, 0xae, 0xb2));

const ALL: [Colour; 8] = [PAPER, INK, SOFT, RULE, AXIS, OWN, OTHER, FLOOR];

impl Colour {
    pub(crate) fn of(role: Role) -> Self {
        match role {
            Role::Own => OWN,
            Role::Other => OTHER,
            Role::Floor => FLOOR,
        }
    }

    /// `#0066A6`: in light, as drawings spell it.
    pub(crate) fn shown(self) -> String {
        hex(self.light)
    }
}

fn hex((red, green, blue): (u8, u8, u8)) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// The declarations of one theme's colours: `--ink:#1C2024;…`.
fn variables(is_dark: bool) -> String {
    let value = |colour: &Colour| hex(if is_dark { colour.dark } else { colour.light });
    ALL.iter().fold(String::new(), |mut out, colour| {
        let _ = write!(out, "--{}:{};", colour.name, value(colour));
        out
    })
}

/// Sets the colours of a page by what the reader's system asks for, unless `data-theme` says
/// otherwise; paper is light.
pub(crate) fn page_css() -> String {
    let (light, dark) = (variables(false), variables(true));
    format!(
        ":root{{color-scheme:light;{light}}}\n\
         @media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n\
         @media screen{{:root[data-theme=dark]{{color-scheme:dark;{dark}}}}}\n{}",
        over_drawings("svg ")
    )
}

/// The same for a picture that stands alone.
pub(crate) fn picture_css() -> String {
    let (light, dark) = (variables(false), variables(true));
    format!(
        ":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}{}",
        over_drawings("")
    )
}

/// A style sheet outranks a drawing's own `fill` and `stroke`.
fn over_drawings(within: &str) -> String {
    ALL.iter().fold(String::new(), |mut out, colour| {
        let (value, name) = (hex(colour.light), colour.name);
        for property in ["fill", "stroke"] {
            let _ = write!(out, "{within}[{property}=\"{value}\"]{{{property}:var(--{name})}}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG 2.2, relative luminance.
    fn luminance((red, green, blue): (u8, u8, u8)) -> f64 {
        let linear = |value: u8| {
            let part = f64::from(value) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
    }

    fn contrast(a: (u8, u8, u8), b: (u8, u8, u8)) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn texts_are_readable_in_both_themes() {
        for colour in [INK, SOFT, OWN, OTHER, FLOOR] {
            let light = contrast(colour.light, PAPER.light);
            let dark = contrast(colour.dark, PAPER.dark);
            assert!(light >= 4.5 && dark >= 4.5, "{}: {light:.1}, {dark:.1}", colour.name);
        }
    }

    #[test]
    fn no_two_colours_of_a_drawing_are_alike() {
        for (index, colour) in ALL.iter().enumerate() {
            assert!(ALL[index + 1..].iter().all(|other| other.light != colour.light));
        }
    }
}
