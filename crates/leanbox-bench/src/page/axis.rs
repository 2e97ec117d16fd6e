//! Axes: from values to a range with ticks at round numbers, and from a value to its place.

use super::chart::{AxisPlan, Scale};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// Lines across a chart, about.
const TICKS: f64 = 5.0;
/// Where the slowest of all stands on a tail scale: past 99.9 %.
const TAIL_END: f64 = 3.5;
const TAIL_TICKS: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

/// A range of values with its ticks.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    pub(crate) ticks: Vec<f64>,
}

impl Axis {
    /// The axis on which all these values have a place.
    pub(crate) fn of(plan: &AxisPlan, values: impl Iterator<Item = f64> + Clone) -> Self {
        let max = values.clone().fold(0.0, f64::max);
        let min = values.clone().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        match plan.scale {
            Scale::Linear => Self::linear(max),
            Scale::Log if plan.ticks_at_points => Self::log_at(values.collect()),
            Scale::Log => Self::log(min.min(max), max),
            Scale::Tail => {
                Self { scale: Scale::Tail, low: 0.0, high: 1.0, ticks: TAIL_TICKS.to_vec() }
            }
        }
    }

    /// A plain range without ticks; may go down.
    pub(crate) fn plain(low: f64, high: f64) -> Self {
        Self { scale: Scale::Linear, low, high, ticks: Vec::new() }
    }

    /// From 0 to the round number at or above `max`.
    fn linear(max: f64) -> Self {
        let max = if max > 0.0 { max } else { 1.0 };
        let step = round_up(max / TICKS);
        let ticks = (0u8..).map(|index| f64::from(index) * step);
        let mut ticks: Vec<f64> = ticks.take_while(|tick| *tick < max).collect();
        let high = ticks.last().copied().unwrap_or(0.0) + step;
        ticks.push(high);
        Self { scale: Scale::Linear, low: 0.0, high, ticks }
    }

    /// Between round numbers around `min` and `max`, which are above 0.
    fn log(min: f64, max: f64) -> Self {
        let (min, max) = if max > 0.0 { (min, max) } else { (1.0, 10.0) };
        let (low, high) = (round_down(min), round_up(max));
        let high = if low < high { high } else { low * 10.0 };
        let decades = (high / low).log10();
        let steps: &[f64] = if decades <= 3.2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        // Powers that are left out so that not more than about ten remain.
        let every = (decades / 10.0).ceil().max(1.0);
        let mut power = low.log10().floor();
        let mut ticks = Vec::new();
        while 10f64.powf(power) <= high * 1.001 {
            ticks.extend(steps.iter().map(|step| step * 10f64.powf(power)));
            power += every;
        }
        ticks.retain(|tick| (low * 0.999..=high * 1.001).contains(tick));
        Self { scale: Scale::Log, low, high, ticks }
    }

    /// A tick at each value that is above 0.
    fn log_at(mut values: Vec<f64>) -> Self {
        values.retain(|value| *value > 0.0);
        values.sort_by(f64::total_cmp);
        values.dedup();
        let (min, max) = match (values.first(), values.last()) {
            (Some(min), Some(max)) => (*min, *max),
            _ => (1.0, 1.0),
        };
        // Room at both ends, and a middle for one value alone.
        let room = (max / min).powf(0.03).max(1.06);
        Self { scale: Scale::Log, low: min / room, high: max * room, ticks: values }
    }

    /// Where between low (0) and high (1) a value stands.
    pub(crate) fn fraction(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
            Scale::Tail => -(1.0 - value).max(10f64.powf(-TAIL_END)).log10() / TAIL_END,
        };
        part.clamp(0.0, 1.0)
    }
}

/// 1, 2 or 5 times a power of ten, at or above.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= value * 0.999_999).unwrap_or(power * 10.0)
}

/// 1, 2 or 5 times a power of ten, at or below.
fn round_down(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|step| step * power);
    steps.into_iter().find(|step| *step <= value * 1.000_001).unwrap_or(power)
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[allow(clippy::cast_possible_truncation, reason = "between two pixels of the drawing")]
    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (self.fraction(*value) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_around_all_values() {
        assert_eq!(Axis::linear(5665.0).ticks, [0.0, 2000.0, 4000.0, 6000.0]);
        assert_eq!(Axis::linear(0.0).ticks.len(), 6);
        let axis = Axis::log(16.0, 250.0);
        assert_eq!((axis.low, axis.high), (10.0, 500.0));
        assert_eq!(axis.ticks, [10.0, 20.0, 50.0, 100.0, 200.0, 500.0]);
    }

    #[test]
    fn extreme_ranges_have_few_ticks() {
        for axis in [Axis::log(1e-9, 1e17), Axis::log(1.0, 1.0), Axis::linear(1e17)] {
            assert!((2..=12).contains(&axis.ticks.len()), "{axis:?}");
        }
    }

    #[test]
    fn a_place_is_always_on_the_axis() {
        let tail = Axis { scale: Scale::Tail, low: 0.0, high: 1.0, ticks: Vec::new() };
        for axis in [Axis::linear(9.0), Axis::log(1.0, 9.0), Axis::log_at(vec![5.0]), tail] {
            for value in [-1.0, 0.0, 0.5, 1.0, 5.0, 1e300] {
                assert!((0.0..=1.0).contains(&axis.fraction(value)), "{axis:?} {value}");
            }
        }
    }
}
