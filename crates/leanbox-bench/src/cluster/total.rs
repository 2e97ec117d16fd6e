//! What many benchmarks started together: only the time that all have in common counts.
//!
//! In: each one's lines with the moment they came, by this machine's clock alone. A line may come
//! late but never early, and a benchmark's seconds follow each other without a gap: so the line
//! that came with the least delay tells when all of that benchmark's seconds began. Out: the common
//! span and what was started in it.

use super::lines::Line;

/// One benchmark's seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Track {
    /// When the line came, what was started, how long that took.
    parts: Vec<(f64, f64, f64)>,
    /// Of the parts.
    starts: u64,
    seconds: f64,
    ended: bool,
}

/// From and to, in seconds of this machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Span {
    pub(super) fn seconds(self) -> f64 {
        self.to - self.from
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
impl Track {
    /// Takes a line that came at that moment.
    pub(super) fn take(&mut self, at: f64, line: Line) {
        match line {
            _ if self.ended => {}
            Line::Part { starts, seconds } => self.push(at, starts, seconds),
            // what came after the last whole second
            Line::Total { starts, seconds } => {
                self.ended = true;
                let (rest, time) = (starts.saturating_sub(self.starts), seconds - self.seconds);
                if rest > 0 && time > 0.0 {
                    self.push(at, rest, time);
                }
            }
        }
    }

    fn push(&mut self, at: f64, starts: u64, seconds: f64) {
        self.parts.push((at, starts as f64, seconds));
        self.starts = self.starts.saturating_add(starts);
        self.seconds += seconds;
    }

    /// All it has started.
    pub(super) fn starts(&self) -> u64 {
        self.starts
    }

    /// A second of its own, for one that has no other beside it.
    pub(super) fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.starts as f64 / self.seconds } else { 0.0 }
    }

    /// When it ran.
    pub(super) fn span(&self) -> Option<Span> {
        let mut seconds = 0.0;
        let begins = self.parts.iter().map(|(at, _, taken)| {
            seconds += taken;
            at - seconds
        });
        let from = begins.reduce(f64::min)?;
        (self.seconds > 0.0).then_some(Span { from, to: from + self.seconds })
    }

    /// What it started within that span.
    pub(super) fn within(&self, span: Span) -> f64 {
        let Some(own) = self.span() else { return 0.0 };
        let mut begin = own.from;
        let mut count = 0.0;
        for (_, starts, seconds) in &self.parts {
            let end = begin + seconds;
            let common = end.min(span.to) - begin.max(span.from);
            if common > 0.0 {
                count += starts * common / seconds;
            }
            begin = end;
        }
        count
    }
}

/// The time that all of these ran; those without a line are not asked.
pub(super) fn common<'a>(tracks: impl Iterator<Item = &'a Track>) -> Option<Span> {
    let spans = tracks.filter_map(Track::span);
    let both =
        |one: Span, other: Span| Span { from: one.from.max(other.from), to: one.to.min(other.to) };
    spans.reduce(both).filter(|span| span.seconds() > 0.0)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "small whole numbers")]
mod tests {
    use super::*;

    /// Lines of `rate` a second that came with these delays, from `from` on.
    fn track(from: f64, rate: u64, delays: &[f64]) -> Track {
        let mut track = Track::default();
        let mut at = from;
        for delay in delays {
            at += 1.0;
            track.take(at + delay, Line::Part { starts: rate, seconds: 1.0 });
        }
        track
    }

    #[test]
    fn only_the_seconds_that_all_ran_count() {
        let (first, second) = (track(0.0, 100, &[0.0; 4]), track(1.0, 10, &[0.0; 4]));
        let span = common([&first, &second].into_iter()).unwrap();
        assert_eq!(span, Span { from: 1.0, to: 4.0 });
        assert_eq!((first.within(span), second.within(span)), (300.0, 30.0));
    }

    #[test]
    fn a_line_that_comes_late_moves_nothing() {
        let late = track(0.0, 100, &[0.5, 0.0, 2.0, 1.0]);
        assert_eq!(late.span(), Some(Span { from: 0.0, to: 4.0 }));
        assert_eq!(late.within(Span { from: 2.0, to: 3.0 }), 100.0);
    }

    #[test]
    fn the_rest_after_the_last_whole_second_is_counted_once() {
        let mut track = track(0.0, 100, &[0.0, 0.0]);
        track.take(2.5, Line::Total { starts: 250, seconds: 2.5 });
        track.take(2.6, Line::Total { starts: 250, seconds: 2.5 });
        assert_eq!((track.starts(), track.span().unwrap().to), (250, 2.5));
        assert_eq!(track.rate(), 100.0);
    }

    #[test]
    fn what_never_ran_together_has_no_common_time() {
        let (first, second) = (track(0.0, 1, &[0.0]), track(5.0, 1, &[0.0]));
        assert_eq!(common([&first, &second].into_iter()), None);
        assert_eq!(common(std::iter::empty()), None);
        assert_eq!(common([&Track::default()].into_iter()), None);
    }
}
