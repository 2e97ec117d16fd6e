//! Durations summed up. No mean: start times have long tails.

use serde::Serialize;
use std::time::Duration;

/// The quantiles of a set of durations, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How many.
    pub count: usize,
    /// Half are shorter.
    pub p50_us: f64,
    /// 99 % are shorter.
    pub p99_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl Summary {
    /// Sums up `samples`.
    #[must_use]
    pub fn of(samples: &[Duration]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        let at = |per_cent: usize| {
            let index = (sorted.len() * per_cent / 100).min(sorted.len().saturating_sub(1));
            sorted.get(index).map_or(0.0, micros)
        };
        Self { count: sorted.len(), p50_us: at(50), p99_us: at(99), max_us: at(100) }
    }
}

fn micros(duration: &Duration) -> f64 {
    // The clock's nanoseconds, without the noise of the division.
    (duration.as_secs_f64() * 1e9).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_samples() {
        let samples: Vec<Duration> = (1..=100).rev().map(Duration::from_micros).collect();
        let summary = Summary::of(&samples);
        assert_eq!((summary.p50_us, summary.p99_us, summary.max_us), (51.0, 100.0, 100.0));
        assert_eq!(Summary::of(&[]), Summary::default());
    }
}
