//! The closed loop: start, exit, wait, and again, as the original's benchmark does; by one
//! thread, or by several that share what they start from.

use crate::second::{Merger, Second};
use leanbox::Result;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How often a loop tells.
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Calls `start` again and again until `duration` after `begin`, or until `stop` is set. `start` is
/// told how much time is left and adds the duration of each start it made; `tell` gets what every
/// second brought, and at the end the rest. A loop that comes to run after `begin` is charged for
/// the time before: what several do together is counted over one and the same time.
///
/// # Errors
/// The first of `start`.
pub fn closed_loop(
    begin: Instant,
    duration: Duration,
    stop: &AtomicBool,
    mut start: impl FnMut(Duration, &mut Vec<Duration>) -> Result<()>,
    mut tell: impl FnMut(Second),
) -> Result<()> {
    let (mut at, mut since, mut second) = (Instant::now(), begin, Second::default());
    while at - begin < duration && !stop.load(Ordering::Relaxed) {
        let before = second.samples.len();
        match start(duration - (at - begin), &mut second.samples) {
            // whatever was under way when it was to end
            Err(_) if stop.load(Ordering::Relaxed) => break,
            result => result?,
        }
        let now = Instant::now();
        let made = second.samples.len() - before;
        second.starts += made as u64;
        if made == 1 {
            second.cycles.push(now - at);
        }
        at = now;
        if now - since >= SECOND {
            tell(second.close(now - since, true));
            since = now;
        }
    }
    tell(second.close(at - since, false));
    Ok(())
}

/// The same by several threads at once, each with a `start` of its own; their seconds are merged.
///
/// # Errors
/// The first of any thread; the others end then.
pub(crate) fn by_threads<S>(
    threads: usize,
    begin: Instant,
    duration: Duration,
    stop: &AtomicBool,
    starter: impl Fn() -> S + Sync,
    mut tell: impl FnMut(Second),
) -> Result<()>
where
    S: FnMut(Duration, &mut Vec<Duration>) -> Result<()>,
{
    let (sender, seconds) = mpsc::channel();
    let failed = AtomicBool::new(false);
    let mut merger = Merger::new(threads);
    let result = std::thread::scope(|scope| {
        let (starter, failed) = (&starter, &failed);
        let spawn = |thread: usize| {
            let sender = sender.clone();
            scope.spawn(move || {
                let mut start = starter();
                let ends = |left: Duration, samples: &mut Vec<Duration>| {
                    if failed.load(Ordering::Relaxed) {
                        return Err(leanbox::Error::invalid("another thread could not start"));
                    }
                    start(left, samples)
                };
                let send = |second| {
                    let _ = sender.send((thread, second));
                };
                let result = closed_loop(begin, duration, stop, ends, send);
                let first = result.is_err() && !failed.swap(true, Ordering::Relaxed);
                if first { result } else { Ok(()) }
            })
        };
        let handles: Vec<_> = (0..threads).map(spawn).collect();
        drop(sender);
        for (thread, second) in seconds {
            if let Some(merged) = merger.add(thread, second) {
                tell(merged);
            }
        }
        handles.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    });
    tell(merger.finish());
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use leanbox::Error;
    use std::sync::atomic::AtomicUsize;

    const SHORT: Duration = Duration::from_millis(30);

    fn sleeper() -> impl FnMut(Duration, &mut Vec<Duration>) -> Result<()> {
        |_, samples| {
            std::thread::sleep(Duration::from_millis(1));
            samples.push(Duration::from_millis(1));
            Ok(())
        }
    }

    #[test]
    fn a_loop_ends_when_its_time_is_up_and_tells_every_start() {
        let mut all = Vec::new();
        let (begin, stop) = (Instant::now(), AtomicBool::new(false));
        closed_loop(begin, SHORT, &stop, sleeper(), |second| all.push(second)).unwrap();
        let [rest] = all.as_slice() else { panic!("{all:?}") };
        assert!(!rest.is_whole && rest.seconds >= 0.03, "{rest:?}");
        assert!(rest.starts > 5 && rest.samples.len() == rest.cycles.len(), "{rest:?}");
        let cycles: Duration = rest.cycles.iter().sum();
        assert!((cycles.as_secs_f64() - rest.seconds).abs() < 1e-3, "cycles fill the loop");
    }

    #[test]
    fn a_loop_that_comes_to_run_late_is_charged_for_it() {
        let mut all = Vec::new();
        let (begin, stop) = (Instant::now(), AtomicBool::new(false));
        std::thread::sleep(SHORT * 3);
        closed_loop(begin, SHORT * 4, &stop, sleeper(), |second| all.push(second)).unwrap();
        assert!(all[0].seconds >= 0.12 && all[0].seconds < 0.3, "{all:?}");
        assert!(all[0].starts <= 31 && all[0].cycles[0] < SHORT * 3, "{all:?}");
    }

    #[test]
    fn a_loop_that_is_stopped_tells_what_there_is() {
        let stop = AtomicBool::new(false);
        let mut told = Vec::new();
        let start = |_, samples: &mut Vec<Duration>| {
            samples.push(SHORT);
            stop.store(true, Ordering::Relaxed);
            Ok(())
        };
        let (begin, long) = (Instant::now(), Duration::from_secs(60));
        closed_loop(begin, long, &stop, start, |second| told.push(second)).unwrap();
        assert_eq!((told.len(), told[0].starts), (1, 1));
    }

    #[test]
    fn threads_share_one_time_and_their_starts_are_added() {
        let mut starts = 0;
        let tell = |second: Second| starts += second.starts;
        let stop = AtomicBool::new(false);
        by_threads(3, Instant::now(), SHORT, &stop, sleeper, tell).unwrap();
        assert!((10..=90).contains(&starts), "{starts}");
    }

    #[test]
    fn an_error_of_one_thread_ends_all() {
        let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
        let starter = || {
            let own = count.fetch_add(1, Ordering::Relaxed);
            move |_, samples: &mut Vec<Duration>| {
                std::thread::sleep(Duration::from_millis(1));
                samples.push(SHORT);
                if own == 1 { Err(Error::invalid("no more")) } else { Ok(()) }
            }
        };
        let begin = Instant::now();
        let long = Duration::from_secs(60);
        let error = by_threads(2, begin, long, &stop, starter, drop).unwrap_err();
        assert_eq!(error.to_string(), "no more");
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}
