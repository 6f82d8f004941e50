//! How much a peer may send in a second: messages and bytes, each as a token bucket that holds one second's worth.
//!
//! A message passes if there is a token for it, and takes what it costs. So one message of any length passes after a
//! quiet time, and the time after it is as long as its bytes ask for. Pings and Pongs count like messages. A session
//! without such a limit has no [`Rate`], and its messages go the short way uncounted.

use crate::config::SessionLimits;
use crate::process::clock::Moment;
use crate::sessions::cause::Cause;

/// What one peer has sent of late.
#[derive(Debug)]
pub(crate) struct Rate {
    messages: Bucket,
    bytes: Bucket,
}

/// A token bucket that holds what may come in one second.
#[derive(Debug)]
struct Bucket {
    /// What may come in a second; 0 is anything.
    per_s: u64,
    /// When the bucket is full again, in nanoseconds since the process began.
    full_at: u64,
}

impl Rate {
    /// The rate that these limits allow, from a full bucket on. `None` if they allow any.
    pub(super) fn of(limits: &SessionLimits) -> Option<Rate> {
        let (messages, bytes) = (limits.messages_per_s_max, limits.bytes_per_s_max);
        let bucket = |per_s| Bucket { per_s, full_at: 0 };
        limits.has_rate().then(|| Rate {
            messages: bucket(messages),
            bytes: bucket(bytes),
        })
    }

    /// Counts so many messages and bytes.
    pub(crate) fn take(&mut self, now: Moment, messages: u64, bytes: u64) {
        self.messages.take(now, messages);
        self.bytes.take(now, bytes);
    }

    /// When the next message may come, and which limit has it wait until then; `None` if it may come now.
    pub(crate) fn wait(&self, now: Moment) -> Option<(Moment, Cause)> {
        // A message needs a whole token; of bytes, any token does, since a message may cost more than the bucket holds.
        let messages = self.messages.ready_at(1).zip(Some(Cause::MessageRate));
        let bytes = self.bytes.ready_at(1).zip(Some(Cause::ByteRate));
        let later = match (messages, bytes) {
            (Some(messages), Some(bytes)) if messages.0 >= bytes.0 => Some(messages),
            (messages, None) => messages,
            (_, bytes) => bytes,
        };
        later.filter(|(at, _)| *at > now)
    }
}

impl Bucket {
    fn take(&mut self, now: Moment, tokens: u64) {
        let cost = tokens.saturating_mul(SECOND_NS).checked_div(self.per_s);
        if let Some(cost) = cost {
            self.full_at = self.full_at.max(nanoseconds(now)).saturating_add(cost);
        }
    }

    /// The first millisecond in which the bucket has `tokens`. `None` if it needs none.
    fn ready_at(&self, tokens: u64) -> Option<Moment> {
        let cost = tokens.saturating_mul(SECOND_NS).checked_div(self.per_s)?;
        let ready = self.full_at.saturating_add(cost).saturating_sub(SECOND_NS);
        Some(Moment::ORIGIN.after(ready.div_ceil(MILLISECOND_NS)))
    }
}

fn nanoseconds(moment: Moment) -> u64 {
    moment
        .ms_since(Moment::ORIGIN)
        .saturating_mul(MILLISECOND_NS)
}

const SECOND_NS: u64 = 1_000_000_000;
const MILLISECOND_NS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// What a peer wants to send: when, how many bytes, and when the next message may come then.
    type Step = (u64, u64, Option<(u64, Cause)>);

    #[test]
    fn a_bucket_gives_one_seconds_worth_at_once_and_then_its_rate() {
        use Cause::{ByteRate, MessageRate};
        let table: [(u64, u64, &[Step]); 5] = [
            // One message a second passes at once, the second a second later.
            (
                1,
                0,
                &[
                    (0, 9, Some((1_000, MessageRate))),
                    (1_000, 9, Some((2_000, MessageRate))),
                ],
            ),
            // Three at once, then one each third of a second.
            (
                3,
                0,
                &[
                    (5_000, 1, None),
                    (5_000, 1, None),
                    (5_000, 1, Some((5_334, MessageRate))),
                    (5_334, 1, Some((5_667, MessageRate))),
                    (9_000, 1, None),
                ],
            ),
            // A message longer than the bucket passes, and takes its time afterwards.
            (
                0,
                100,
                &[
                    (0, 1_000, Some((9_010, ByteRate))),
                    (9_010, 1, Some((9_020, ByteRate))),
                ],
            ),
            // The one that takes longer is named.
            (10, 100, &[(0, 50, None), (0, 60, Some((110, ByteRate)))]),
            // A quiet hour saves up no more than a second.
            (
                2,
                0,
                &[
                    (3_600_000, 1, None),
                    (3_600_000, 1, Some((3_600_500, MessageRate))),
                ],
            ),
        ];
        for (messages, bytes, steps) in table {
            let limits = SessionLimits {
                messages_per_s_max: messages,
                bytes_per_s_max: bytes,
                ..SessionLimits::default()
            };
            let mut rate = Rate::of(&limits).expect("a rate");
            for &(at, length, wait) in steps {
                let now = Moment::ORIGIN.after(at);
                assert_eq!(rate.wait(now), None, "{messages} {bytes} {at}");
                rate.take(now, 1, length);
                let wait = wait.map(|(at, cause)| (Moment::ORIGIN.after(at), cause));
                assert_eq!(rate.wait(now), wait, "{messages} {bytes} {at}");
            }
        }
        assert!(Rate::of(&SessionLimits::default()).is_none());
    }
}
