//! What the server said until now: rates from one answer to the next.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::metrics::histogram::BOUNDS;

/// The answers until now.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The last answer.
    pub(super) snapshot: Value,
    pub(super) at: Option<Instant>,
    /// By the handler's name.
    pub(super) handlers: BTreeMap<String, HandlerHistory>,
    pub(super) total: Rates,
    /// The part of one processor that the server took.
    pub(super) processor: Option<f64>,
}

/// One handler until now.
#[derive(Clone, Debug, Default)]
pub(super) struct HandlerHistory {
    pub(super) rates: Rates,
    /// Messages a second, both ways, the oldest first.
    pub(super) messages: VecDeque<f64>,
    /// The mean time of a callback in seconds, the oldest first.
    pub(super) times: VecDeque<f64>,
}

/// Numbers of the time between the last two answers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) messages_in: f64,
    pub(super) messages_out: f64,
    pub(super) bytes_in: f64,
    pub(super) bytes_out: f64,
    /// The mean time of callbacks, if any was timed.
    pub(super) mean: Option<f64>,
    /// The time that 99 of 100 callbacks stayed below; infinite beyond the last range.
    pub(super) p99: Option<f64>,
}

impl History {
    /// Adds an answer that came at this time.
    pub(super) fn add(&mut self, snapshot: &Value, now: Instant) {
        let before = std::mem::replace(&mut self.snapshot, snapshot.clone());
        let at = self.at.replace(now);
        // Another process may have taken the socket over: its counts begin anew.
        let is_anew = snapshot["uptime_ms"].as_u64() < before["uptime_ms"].as_u64();
        let elapsed = match at {
            Some(at) if !is_anew => now.saturating_duration_since(at).max(SHORTEST),
            _ => return,
        };
        let mut old: BTreeMap<&str, &Value> = BTreeMap::new();
        for handler in list(&before) {
            old.insert(handler["name"].as_str().unwrap_or_default(), handler);
        }
        let mut handlers = BTreeMap::new();
        self.total = Rates::default();
        for handler in list(snapshot) {
            let name = handler["name"].as_str().unwrap_or_default();
            let rates = Rates::of(old.get(name).copied(), handler, elapsed);
            self.total.messages_in += rates.messages_in;
            self.total.messages_out += rates.messages_out;
            self.total.bytes_in += rates.bytes_in;
            self.total.bytes_out += rates.bytes_out;
            let mut own = self.handlers.remove(name).unwrap_or_default();
            own.rates = rates;
            push(&mut own.messages, rates.messages_in + rates.messages_out);
            push(&mut own.times, rates.mean.unwrap_or(0.0));
            handlers.insert(name.to_owned(), own);
        }
        self.handlers = handlers;
        let seconds = |snapshot: &Value| snapshot["process"]["cpu_seconds"].as_f64();
        self.processor = seconds(&before)
            .zip(seconds(snapshot))
            .map(|(before, now)| (now - before).max(0.0) / elapsed.as_secs_f64());
    }
}

impl Rates {
    fn of(before: Option<&Value>, now: &Value, elapsed: Duration) -> Rates {
        let seconds = elapsed.as_secs_f64();
        let count = |value: &Value| value.as_f64().unwrap_or(0.0);
        let null = Value::Null;
        let before = before.unwrap_or(&null);
        let rate = |name: &str| {
            let (old, new) = (
                count(&before["traffic"][name]),
                count(&now["traffic"][name]),
            );
            (new - old).max(0.0) / seconds
        };
        let counts = |handler: &Value| -> Vec<f64> {
            let counts = handler["callbacks"]["counts"].as_array();
            counts.into_iter().flatten().map(count).collect()
        };
        let (old, new) = (counts(before), counts(now));
        let timed = new.iter().enumerate();
        let timed = timed.map(|(at, new)| (new - old.get(at).unwrap_or(&0.0)).max(0.0));
        let timed: Vec<f64> = timed.collect();
        let all: f64 = timed.iter().sum();
        let took = count(&now["callbacks"]["seconds"]) - count(&before["callbacks"]["seconds"]);
        Rates {
            messages_in: rate("messages_in"),
            messages_out: rate("messages_out"),
            bytes_in: rate("bytes_in"),
            bytes_out: rate("bytes_out"),
            mean: (all > 0.0).then(|| took.max(0.0) / all),
            p99: (all > 0.0).then(|| bound(&timed, 0.99 * all)),
        }
    }
}

/// The upper end of the range in which the callback lies that has so many before it.
fn bound(counts: &[f64], before: f64) -> f64 {
    let mut sum = 0.0;
    for (at, count) in counts.iter().enumerate() {
        sum += count;
        if sum >= before {
            return BOUNDS
                .get(at)
                .map_or(f64::INFINITY, |(bound, _)| bound.as_secs_f64());
        }
    }
    f64::INFINITY
}

/// The handlers of a snapshot.
pub(super) fn list(snapshot: &Value) -> &[Value] {
    snapshot["handlers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn push(values: &mut VecDeque<f64>, value: f64) {
    values.push_back(value);
    if values.len() > KEPT {
        values.pop_front();
    }
}

/// How many answers a sparkline shows at most.
pub(super) const KEPT: usize = 60;
/// Two answers that come at one moment.
const SHORTEST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rates_are_what_changed_in_the_time_between_and_begin_anew_with_another_process() {
        let handler = |messages: u64, short: u64, long: u64, seconds: f64| {
            let mut counts = [0; BOUNDS.len() + 1];
            (counts[0], counts[BOUNDS.len()]) = (short, long);
            json!({
                "name": "chat",
                "traffic": { "messages_in": messages, "messages_out": 2 * messages, "bytes_in": 0, "bytes_out": 0 },
                "callbacks": { "counts": counts.to_vec(), "seconds": seconds },
            })
        };
        let at = |uptime_ms: u64, handler: Value| json!({ "uptime_ms": uptime_ms, "handlers": [handler], "process": { "cpu_seconds": uptime_ms as f64 / 4000.0 } });
        let mut history = History::default();
        let began = Instant::now();
        history.add(&at(1_000, handler(10, 5, 0, 1.0)), began);
        assert!(history.handlers.is_empty(), "one answer is no rate");

        history.add(
            &at(3_000, handler(30, 105, 0, 1.5)),
            began + Duration::from_secs(2),
        );

        let rates = history.handlers["chat"].rates;
        assert_eq!((rates.messages_in, rates.messages_out), (10.0, 20.0));
        assert_eq!((rates.mean, rates.p99), (Some(0.005), Some(1e-6)));
        assert_eq!(history.processor, Some(0.25));
        history.add(
            &at(4_000, handler(30, 105, 3, 9.5)),
            began + Duration::from_secs(3),
        );
        assert_eq!(history.handlers["chat"].rates.p99, Some(f64::INFINITY));
        history.add(
            &at(500, handler(1, 0, 0, 0.0)),
            began + Duration::from_secs(4),
        );
        assert_eq!(history.handlers["chat"].messages.len(), 2);
    }
}
