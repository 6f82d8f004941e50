//! The trace that a client's request is part of (W3C Trace Context): the log says it in the lines of a session, so that
//! they are found with those of the programs before and behind it.
//!
//! The header reaches handlers as it is, with `tracestate`.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The number of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceId([u8; 16]);

/// The traces of open sessions, by the sessions' ids. Most sessions have none, and take no memory for it.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    count: AtomicUsize,
    by_session: Mutex<HashMap<u64, TraceId>>,
}

impl TraceId {
    /// The trace of a request with this `traceparent`; `None` if that is no header as it should be.
    pub(crate) fn of(traceparent: &[u8]) -> Option<TraceId> {
        let (first, rest) = traceparent.split_at_checked(LENGTH)?;
        let version = hex::<1>(first.get(..2)?)?;
        let trace = hex::<16>(first.get(3..35)?)?;
        let parent = hex::<8>(first.get(36..52)?)?;
        hex::<1>(first.get(53..)?)?;
        let are_parted = [2, 35, 52].iter().all(|at| first[*at] == b'-');
        // A later version may have more behind another hyphen.
        let is_whole = match version {
            [0] => rest.is_empty(),
            [0xff] => false,
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        let is_good = are_parted && is_whole && trace != [0; 16] && parent != [0; 8];
        is_good.then_some(TraceId(trace))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Traces {
    /// Keeps the trace of a session until [`remove`](Self::remove).
    pub(crate) fn insert(&self, session: u64, trace: TraceId) {
        let mut traces = self.lock();
        traces.insert(session, trace);
        self.count.store(traces.len(), Ordering::Release);
    }

    /// The trace of a session, if it has one.
    pub(crate) fn get(&self, session: u64) -> Option<TraceId> {
        if self.are_none() {
            return None;
        }
        self.lock().get(&session).copied()
    }

    /// Forgets the trace of a session that is over.
    pub(crate) fn remove(&self, session: u64) {
        if self.are_none() {
            return;
        }
        let mut traces = self.lock();
        traces.remove(&session);
        self.count.store(traces.len(), Ordering::Release);
        if traces.is_empty() {
            traces.shrink_to_fit();
        }
    }

    fn are_none(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, TraceId>> {
        self.by_session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads lowercase digits.
fn hex<const BYTES: usize>(text: &[u8]) -> Option<[u8; BYTES]> {
    if text.len() != 2 * BYTES || text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = (high? * 16 + low?) as u8;
    }
    Some(bytes)
}

/// The length of the header in version 0.
const LENGTH: usize = 55;

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_header_that_is_not_as_it_should_be_says_nothing() {
        let good = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let zeros = "0".repeat(32);
        for (header, is_good) in [
            (good.clone(), true),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01"), true),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01-what"), true),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01x"), false),
            (format!("{good}-what"), false),
            (format!("ff-{TRACE}-00f067aa0ba902b7-01"), false),
            (
                format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
                false,
            ),
            (format!("00-{zeros}-00f067aa0ba902b7-01"), false),
            (format!("00-{TRACE}-{}-01", &zeros[..16]), false),
            (good.replace('-', "_"), false),
            (good.replace('4', "g"), false),
            (good[..54].to_owned(), false),
            (good.replace("01", "é"), false),
            (String::new(), false),
        ] {
            let found = TraceId::of(header.as_bytes());
            let expected = is_good.then(|| TRACE.to_owned());
            assert_eq!(found.map(|it| it.to_string()), expected, "{header}");
        }
    }

    #[test]
    fn a_session_has_its_trace_until_it_is_over() {
        let traces = Traces::default();
        let trace = TraceId([7; 16]);
        assert_eq!(traces.get(1), None);
        traces.insert(1, trace);
        traces.remove(2);
        assert_eq!((traces.get(1), traces.get(2)), (Some(trace), None));
        traces.remove(1);
        assert_eq!(traces.get(1), None);
    }
}
