//! The open loop: containers arrive whether the last ones have ended or not, as requests do. The
//! latency counts from the moment a start was *intended*, so that a driver or a pool that comes
//! late is charged for it (no coordinated omission).
//!
//! In: a rate and a seed. Out: seconds, as of the closed loop. Never: an arrival left out.

use crate::closed_loop::SECOND;
use crate::second::Second;
use leanbox::Result;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// A start that begins this much after its time is late.
pub(crate) const LATE: Duration = Duration::from_millis(1);
/// How long after the last arrival those that still wait are started; what is left then is
/// charged with the time it has waited.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest sleep before a look whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// Arrivals and who serves them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rate: f64,
    pub(crate) duration: Duration,
    pub(crate) seed: u64,
    /// Threads that start and wait: as many containers may run at once.
    pub(crate) waiters: usize,
}

impl Plan {
    /// Enough waiters that an arrival finds one: by Little's law for starts of 50 ms.
    pub(crate) fn waiters(rate: f64) -> usize {
        let running = (rate * 0.05).clamp(8.0, 256.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 8 to 256")]
        let waiters = running as usize;
        waiters
    }
}

/// A Poisson process: times from the beginning, each some exponentially distributed gap after
/// the last. The same seed gives the same times.
#[derive(Debug, Clone)]
pub(crate) struct Arrivals {
    at: f64,
    rate: f64,
    end: f64,
    state: u64,
}

impl Arrivals {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { at: 0.0, rate: plan.rate, end: plan.duration.as_secs_f64(), state: plan.seed }
    }

    /// A number from 0 up to, but not, 1 (SplitMix64, its upper 53 bits).
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        crate::statistics::number(mixed >> 11) / 9_007_199_254_740_992.0
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.at -= (1.0 - self.uniform()).ln() / self.rate;
        (self.at < self.end).then(|| Duration::from_secs_f64(self.at))
    }
}

/// What became of one arrival.
struct Served {
    latency: Duration,
    late: bool,
    started: bool,
}

/// What the waiters have in common.
struct Shared<'a> {
    begin: Instant,
    give_up: Duration,
    stop: &'a AtomicBool,
    failed: AtomicBool,
    arrivals: Mutex<Arrivals>,
}

/// Starts a container at each arrival, counted from `begin`. Each waiter has a `start` of its own, which returns the
/// time from its call to the outcome.
///
/// # Errors
/// The first of any waiter; the others end then.
pub(crate) fn open_loop<S: FnMut() -> Result<Duration>>(
    begin: Instant,
    plan: &Plan,
    stop: &AtomicBool,
    starter: impl Fn() -> S + Sync,
    tell: impl FnMut(Second),
) -> Result<()> {
    let (sender, served) = mpsc::channel();
    let shared = Shared {
        begin,
        give_up: plan.duration + PATIENCE,
        stop,
        failed: AtomicBool::new(false),
        arrivals: Mutex::new(Arrivals::new(plan)),
    };
    std::thread::scope(|scope| {
        let (starter, shared) = (&starter, &shared);
        let spawn = |_| {
            let sender = sender.clone();
            scope.spawn(move || {
                let result = wait_and_start(shared, starter(), &sender);
                if result.is_err() {
                    shared.failed.store(true, Ordering::Relaxed);
                }
                result
            })
        };
        let waiters: Vec<_> = (0..plan.waiters).map(spawn).collect();
        drop(sender);
        collect(&served, shared.begin, tell);
        waiters.into_iter().try_for_each(|waiter| waiter.join().unwrap_or(Ok(())))
    })
}

/// One waiter: takes the next arrival, sleeps until its time, starts.
fn wait_and_start(
    shared: &Shared<'_>,
    mut start: impl FnMut() -> Result<Duration>,
    sender: &mpsc::Sender<Served>,
) -> Result<()> {
    // The kernel may else wake a sleeper 50 µs after its time (PR_SET_TIMERSLACK).
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    loop {
        let next = shared.arrivals.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(intended) = next else { return Ok(()) };
        if !shared.sleep_until(intended) {
            return Ok(());
        }
        let after = shared.begin.elapsed().saturating_sub(intended);
        let late = after > LATE;
        if shared.begin.elapsed() > shared.give_up {
            let _ = sender.send(Served { latency: after, late, started: false });
            continue;
        }
        let taken = match start() {
            Err(_) if shared.is_ended() => return Ok(()),
            result => result?,
        };
        let _ = sender.send(Served { latency: after + taken, late, started: true });
    }
}

impl Shared<'_> {
    fn is_ended(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.failed.load(Ordering::Relaxed)
    }

    /// False if it is to end before.
    fn sleep_until(&self, intended: Duration) -> bool {
        loop {
            if self.is_ended() {
                return false;
            }
            let left = intended.saturating_sub(self.begin.elapsed());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }
}

/// Puts what was served into seconds, until all waiters have ended.
fn collect(served: &mpsc::Receiver<Served>, begin: Instant, mut tell: impl FnMut(Second)) {
    let (mut second, mut since) = (Second::default(), begin);
    loop {
        let left = SECOND.saturating_sub(since.elapsed());
        match served.recv_timeout(left) {
            Ok(one) => {
                second.starts += u64::from(one.started);
                second.unserved += u64::from(!one.started);
                second.late += u64::from(one.late);
                second.samples.push(one.latency);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                tell(second.close(since.elapsed(), false));
                return;
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        if since.elapsed() >= SECOND {
            let now = Instant::now();
            tell(second.close(now - since, true));
            since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::second::Totals;

    fn plan(rate: f64, milliseconds: u64, waiters: usize) -> Plan {
        Plan { rate, duration: Duration::from_millis(milliseconds), seed: 7, waiters }
    }

    #[test]
    fn arrivals_are_a_poisson_process_of_that_rate() {
        let plan = plan(1000.0, 100_000, 1);
        let times: Vec<f64> = Arrivals::new(&plan).map(|at| at.as_secs_f64()).collect();
        // 100,000 expected, with a standard deviation of 316
        assert!((99_000..101_000).contains(&times.len()), "{}", times.len());
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| *gap >= 0.0));
        // of an exponential distribution 1/e is above the mean
        let above = gaps.iter().filter(|gap| **gap > 0.001).count() as f64 / gaps.len() as f64;
        assert!((above - (-1f64).exp()).abs() < 0.01, "{above}");
    }

    #[test]
    fn the_same_seed_gives_the_same_arrivals_and_another_others() {
        let first = plan(1000.0, 100, 1);
        let other = Plan { seed: 8, ..first };
        let times = |plan: &Plan| Arrivals::new(plan).collect::<Vec<_>>();
        assert_eq!(times(&first), times(&first));
        assert_ne!(times(&first), times(&other));
    }

    #[test]
    fn a_driver_that_stalls_is_charged_for_all_who_waited() {
        let mut totals = Totals::default();
        let stalls = || {
            let mut first = true;
            move || {
                if std::mem::take(&mut first) {
                    std::thread::sleep(Duration::from_millis(200));
                }
                Ok(Duration::from_micros(10))
            }
        };
        let stop = AtomicBool::new(false);
        open_loop(Instant::now(), &plan(1000.0, 300, 1), &stop, stalls, |second| {
            totals.add(second)
        })
        .unwrap();
        let all = totals.all;
        // some 200 arrivals came meanwhile and waited for up to 200 ms, though each took 10 µs
        let waited = all.samples.iter().filter(|latency| **latency > Duration::from_millis(20));
        assert!(waited.count() > 100, "{:?}", all.late);
        assert!(all.late > 100 && all.unserved == 0, "{}", all.late);
        assert!(all.samples.iter().max().unwrap() > &Duration::from_millis(150));
    }

    #[test]
    fn a_start_that_takes_long_holds_nobody_up_while_there_are_waiters() {
        let mut totals = Totals::default();
        let long = || {
            || {
                std::thread::sleep(Duration::from_millis(20));
                Ok(Duration::from_millis(20))
            }
        };
        let stop = AtomicBool::new(false);
        open_loop(Instant::now(), &plan(100.0, 300, 32), &stop, long, |second| totals.add(second))
            .unwrap();
        let sum: Duration = totals.all.samples.iter().sum();
        let mean = sum / u32::try_from(totals.all.samples.len()).unwrap();
        assert!(mean < Duration::from_millis(60), "{mean:?}");
    }

    #[test]
    fn what_was_never_started_is_charged_with_its_wait() {
        let mut totals = Totals::default();
        let slow = || {
            || {
                std::thread::sleep(Duration::from_millis(400));
                Ok(Duration::from_millis(400))
            }
        };
        let stop = AtomicBool::new(false);
        let plan = plan(100.0, 100, 1);
        open_loop(Instant::now(), &plan, &stop, slow, |second| totals.add(second)).unwrap();
        let all = totals.all;
        assert_eq!(all.samples.len(), Arrivals::new(&plan).count());
        assert!(all.unserved > 0 && all.starts + all.unserved == all.samples.len() as u64);
        assert!(all.samples.iter().max().unwrap() > &Duration::from_secs(1));
    }
}
