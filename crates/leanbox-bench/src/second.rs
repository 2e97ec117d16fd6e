//! What a loop brings once a second, and how that of several drivers becomes one: counts are
//! added, samples put together, times averaged.

use crate::statistics::number;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// What one second brought.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Containers started and ended.
    pub starts: u64,
    /// How long it was.
    pub seconds: f64,
    /// Whether it was a whole one, not the rest at the end.
    pub is_whole: bool,
    /// Start to outcome, from the intended start where the rate is given.
    #[serde(with = "nanoseconds")]
    pub samples: Vec<Duration>,
    /// From one start to the next, where one follows the other.
    #[serde(with = "nanoseconds")]
    pub cycles: Vec<Duration>,
    /// Starts that began later than they were meant to.
    pub late: u64,
    /// Arrivals that were never started since all before them took too long.
    pub unserved: u64,
}

impl Second {
    /// Ends it.
    pub(crate) fn close(&mut self, length: Duration, is_whole: bool) -> Self {
        self.seconds = length.as_secs_f64();
        self.is_whole = is_whole;
        std::mem::take(self)
    }

    /// Adds what another driver, or the next second, brought. The times are added as well.
    fn add(&mut self, other: Self) {
        self.starts += other.starts;
        self.seconds += other.seconds;
        self.is_whole &= other.is_whole;
        self.samples.extend(other.samples);
        self.cycles.extend(other.cycles);
        self.late += other.late;
        self.unserved += other.unserved;
    }
}

/// All that a run brought.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Its seconds, put together.
    pub all: Second,
}

impl Totals {
    /// Adds a second.
    pub fn add(&mut self, second: Second) {
        self.all.add(second);
    }

    /// Starts a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.all.seconds > 0.0 { number(self.all.starts) / self.all.seconds } else { 0.0 }
    }
}

/// Several drivers' seconds on their way into one.
#[derive(Debug)]
pub(crate) struct Merger {
    waiting: Vec<VecDeque<Second>>,
}

impl Merger {
    pub(crate) fn new(drivers: usize) -> Self {
        Self { waiting: vec![VecDeque::new(); drivers.max(1)] }
    }

    /// Takes a driver's second; gives one when there is one of each.
    pub(crate) fn add(&mut self, driver: usize, second: Second) -> Option<Second> {
        self.waiting.get_mut(driver)?.push_back(second);
        let all = self.waiting.iter().all(|seconds| {
            // the rest at the end waits for the others' rests
            seconds.front().is_some_and(|second| second.is_whole)
        });
        if !all {
            return None;
        }
        let firsts: Vec<Second> = self.waiting.iter_mut().filter_map(VecDeque::pop_front).collect();
        Some(Self::one_of(firsts, self.waiting.len()))
    }

    /// What is left, as one second that is not whole.
    pub(crate) fn finish(self) -> Second {
        let drivers = self.waiting.len();
        Second { is_whole: false, ..Self::one_of(self.waiting.into_iter().flatten(), drivers) }
    }

    fn one_of(seconds: impl IntoIterator<Item = Second>, drivers: usize) -> Second {
        let mut one = Second { is_whole: true, ..Second::default() };
        seconds.into_iter().for_each(|second| one.add(second));
        one.seconds /= number(drivers as u64);
        one
    }
}

/// Durations as numbers of nanoseconds.
mod nanoseconds {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(all: &[Duration], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(all.iter().map(|one| u64::try_from(one.as_nanos()).unwrap_or(u64::MAX)))
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<Duration>, D::Error> {
        let all = Vec::<u64>::deserialize(from)?;
        Ok(all.into_iter().map(Duration::from_nanos).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(starts: u64, seconds: f64) -> Second {
        let samples = vec![Duration::from_nanos(starts); usize::try_from(starts).unwrap()];
        Second { starts, seconds, is_whole: true, samples, ..Second::default() }
    }

    #[test]
    fn a_merged_second_comes_when_every_driver_has_told_its_own() {
        let mut merger = Merger::new(2);
        assert_eq!(merger.add(0, second(3, 1.0)), None);
        assert_eq!(merger.add(0, second(5, 1.0)), None);
        let merged = merger.add(1, second(4, 1.5)).unwrap();
        assert_eq!((merged.starts, merged.seconds, merged.samples.len()), (7, 1.25, 7));
        assert!(merged.is_whole);
        let left = merger.finish();
        assert_eq!((left.starts, left.is_whole), (5, false));
    }

    #[test]
    fn rates_of_drivers_add_up() {
        let mut merger = Merger::new(4);
        let mut totals = Totals::default();
        for driver in 0..4 {
            if let Some(merged) = merger.add(driver, second(100, 1.0)) {
                totals.add(merged);
            }
            let rest = Second { is_whole: false, ..second(50, 0.5) };
            assert_eq!(merger.add(driver, rest), None);
        }
        totals.add(merger.finish());
        assert_eq!((totals.all.starts, totals.all.seconds), (600, 1.5));
        assert!((totals.rate() - 400.0).abs() < 1e-9);
    }

    #[test]
    fn a_second_reaches_another_process_as_it_is() {
        let one = Second { cycles: vec![Duration::from_micros(1)], late: 2, ..second(3, 1.0) };
        let text = serde_json::to_string(&one).unwrap();
        assert!(text.contains("\"samples\":[3,3,3],\"cycles\":[1000]"), "{text}");
        assert_eq!(serde_json::from_str::<Second>(&text).unwrap(), one);
    }
}
