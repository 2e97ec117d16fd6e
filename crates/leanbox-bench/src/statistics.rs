//! Durations summed up: quantiles, how sure the middle one is, and the whole distribution. No
//! mean: start times have long tails.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The quantiles of a set of durations, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
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
        let sorted = sorted(samples);
        let at = |per_mille| quantile(&sorted, per_mille);
        Self { count: sorted.len(), p50_us: at(500), p99_us: at(990), max_us: at(1000) }
    }
}

/// `[quantile, microseconds]` for 0, 0.01 … 0.99, 0.995, 0.999, 1; empty without samples.
#[must_use]
pub fn distribution(samples: &[Duration]) -> Vec<[f64; 2]> {
    if samples.is_empty() {
        return Vec::new();
    }
    let sorted = sorted(samples);
    let per_milles = (0..=990u16).step_by(10).chain([995, 999, 1000]);
    let row = |per_mille: u16| [f64::from(per_mille) / 1e3, quantile(&sorted, per_mille.into())];
    per_milles.map(row).collect()
}

/// Whether the 95 % confidence interval of the median reaches no further than `share` of the
/// median to either side. By order statistics: whatever the distribution, the number of samples
/// below the median is binomial, about n/2 ± 1.96·√n/2. Of fewer than six nothing is sure.
#[must_use]
pub fn is_median_sure(samples: &[Duration], share: f64) -> bool {
    let sorted = sorted(samples);
    let (middle, reach) = (sorted.len() / 2, sorted.len().isqrt() * 98 / 100 + 1);
    let (Some(low), Some(high)) = (middle.checked_sub(reach), sorted.get(middle + reach)) else {
        return false;
    };
    if sorted.len() < 6 {
        return false;
    }
    let median = micros(sorted[middle]);
    micros(sorted[low]) >= median * (1.0 - share) && micros(*high) <= median * (1.0 + share)
}

fn sorted(samples: &[Duration]) -> Vec<Duration> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted
}

fn quantile(sorted: &[Duration], per_mille: usize) -> f64 {
    let index = (sorted.len() * per_mille / 1000).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().map_or(0.0, micros)
}

/// A duration in microseconds, to the nanosecond.
pub(crate) fn micros(duration: Duration) -> f64 {
    // The clock's nanoseconds, without the noise of the division.
    (duration.as_secs_f64() * 1e9).round() / 1e3
}

/// A count as a number to divide by or into.
#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up_to(count: u64) -> Vec<Duration> {
        (1..=count).rev().map(Duration::from_micros).collect()
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_samples() {
        let summary = Summary::of(&up_to(100));
        assert_eq!((summary.p50_us, summary.p99_us, summary.max_us), (51.0, 100.0, 100.0));
        assert_eq!(Summary::of(&[]), Summary::default());
    }

    #[test]
    fn a_distribution_goes_from_the_least_to_the_most() {
        let rows = distribution(&up_to(1000));
        assert_eq!(rows.len(), 103);
        assert_eq!((rows[0], rows[50], rows[102]), ([0.0, 1.0], [0.5, 501.0], [1.0, 1000.0]));
        assert_eq!(rows[101], [0.999, 1000.0]);
        assert!(distribution(&[]).is_empty());
    }

    #[test]
    fn a_median_is_sure_when_enough_samples_are_near_it() {
        // 1.96 · √10000 / 2 = 98 ranks of 1 µs to either side of 5000 µs: 1.96 %
        assert!(is_median_sure(&up_to(10_000), 0.02));
        assert!(!is_median_sure(&up_to(10_000), 0.019));
        assert!(!is_median_sure(&up_to(100), 0.02));
        assert!(is_median_sure(&[Duration::from_micros(7); 20], 0.0));
        for few in 0..=5 {
            assert!(!is_median_sure(&vec![Duration::from_micros(7); few], 1.0), "{few}");
        }
    }
}
