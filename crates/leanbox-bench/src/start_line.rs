//! A moment that several processes of one machine agree on, as nanoseconds of `CLOCK_MONOTONIC`.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// The moment `ahead` of now.
pub(crate) fn ahead(ahead: Duration) -> u64 {
    now().saturating_add(u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX))
}

/// Sleeps until then, at most a second, whoever sent the moment. Gives the moment itself, which
/// this process may have missed by some time.
pub(crate) fn sleep_until(at: u64) -> Instant {
    std::thread::sleep(Duration::from_nanos(at.saturating_sub(now())).min(Duration::from_secs(1)));
    let missed = Duration::from_nanos(now().saturating_sub(at));
    let woken = Instant::now();
    woken.checked_sub(missed).unwrap_or(woken)
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(time.tv_sec).saturating_mul(1_000_000_000).saturating_add(part(time.tv_nsec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sleeps_until_a_moment_wakes_after_it() {
        let begin = Instant::now();
        let at = ahead(Duration::from_millis(20));
        let line = sleep_until(at);
        assert!(begin.elapsed() >= Duration::from_millis(20) && now() >= at);
        let (early, late) = (Duration::from_millis(19), Duration::from_millis(100));
        assert!(line >= begin + early && line <= begin + late, "{:?}", line - begin);
        sleep_until(0);
    }
}
