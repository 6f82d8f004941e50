use std::sync::Arc;

use super::*;
use crate::engine::TopicName;
use crate::testing::seeds::{Dice, for_seeds};
use crate::ws::frame;

const EPOCH: u64 = 77;
const ORIGIN: Origin = Origin {
    node: 0,
    incarnation: 5,
};
const UNBOUNDED: HistoryBounds = HistoryBounds {
    count: usize::MAX,
    age_ms: u64::MAX,
    bytes: usize::MAX,
};
const ALL: PageLimit = PageLimit {
    items: usize::MAX,
    bytes: usize::MAX,
};

fn publication(number: u64, payload: &[u8]) -> Publication {
    Publication {
        topic: TopicName {
            owner: Arc::from("chat"),
            name: Arc::from("lobby"),
        },
        origin: ORIGIN,
        number,
        except: number % 3,
        message: PreparedMessage::new(frame::TEXT, payload, number.is_multiple_of(2)),
    }
}

fn at_ms(ms: u64) -> Moment {
    Moment::ORIGIN.after(ms)
}

fn after(offset: u64) -> HistoryFrom {
    HistoryFrom::After(StreamPosition {
        epoch: EPOCH,
        offset,
    })
}

fn up_to(offset: u64, count: u64, bytes: usize) -> HistoryFrom {
    HistoryFrom::UpTo {
        last: StreamPosition {
            epoch: EPOCH,
            offset,
        },
        count,
        bytes,
    }
}

/// A stream with publications `1` to `count`, one each second, whose payloads are their numbers.
fn stream(count: u64, bounds: HistoryBounds) -> Stream {
    let mut stream = Stream::new(EPOCH, bounds);
    for number in 1..=count {
        let publication = publication(number, number.to_string().as_bytes());
        let appended = stream.append(&publication, at_ms(number * 1_000));
        assert_eq!(appended, Appended::New(stream.position(number)));
    }
    stream
}

/// The offsets that are kept.
fn offsets(stream: &Stream, now: Moment) -> Vec<u64> {
    let page = stream.page(HistoryFrom::Last(u64::MAX), ALL, now);
    page.publications.iter().map(|it| it.at.offset).collect()
}

#[test]
fn a_page_begins_where_it_is_asked_to_and_is_complete_or_empty() {
    let bounds = HistoryBounds {
        count: 5,
        ..UNBOUNDED
    };
    let stream = stream(8, bounds);
    let other = HistoryFrom::After(StreamPosition {
        epoch: EPOCH + 1,
        offset: 6,
    });
    for (from, items, bytes, found, is_complete, has_more) in [
        (HistoryFrom::Last(0), 9, 9, &[][..], true, false),
        (HistoryFrom::Last(2), 9, 9, &[7, 8], true, false),
        (HistoryFrom::Last(2), 1, 9, &[7], true, true),
        (
            HistoryFrom::Last(u64::MAX),
            9,
            9,
            &[4, 5, 6, 7, 8],
            true,
            false,
        ),
        (HistoryFrom::Last(5), 9, 3, &[4, 5, 6], true, true),
        (after(8), 9, 9, &[], true, false),
        (after(7), 0, 0, &[8], true, false),
        (after(6), 0, 0, &[7], true, true),
        (after(3), 9, 9, &[4, 5, 6, 7, 8], true, false),
        (after(2), 9, 9, &[], false, false),
        (after(0), 9, 9, &[], false, false),
        (after(9), 9, 9, &[], false, false),
        (after(u64::MAX), 9, 9, &[], false, false),
        (other, 9, 9, &[], false, false),
        (up_to(6, 2, 9), 9, 9, &[5, 6, 7, 8], true, false),
        (up_to(6, 2, 9), 2, 9, &[5, 6], true, true),
        (up_to(6, 9, 2), 9, 9, &[5, 6, 7, 8], true, false),
        (up_to(6, u64::MAX, 9), 1, 9, &[4], true, true),
        (up_to(6, 9, 0), 9, 9, &[7, 8], true, false),
        (up_to(8, 0, 9), 9, 9, &[], true, false),
        (up_to(3, 2, 9), 9, 9, &[4, 5, 6, 7, 8], true, false),
        (up_to(2, 2, 9), 9, 9, &[], false, false),
        (up_to(9, 2, 9), 9, 9, &[], false, false),
    ] {
        let page = stream.page(from, PageLimit { items, bytes }, at_ms(9_000));
        let offsets: Vec<u64> = page.publications.iter().map(|it| it.at.offset).collect();
        assert_eq!(
            (&*offsets, page.is_complete, page.has_more),
            (found, is_complete, has_more),
            "{from:?}"
        );
        assert_eq!(page.head, Some(stream.position(8)));
    }
}

#[test]
fn a_publication_comes_out_as_it_was_published() {
    let mut stream = Stream::new(EPOCH, UNBOUNDED);
    for (number, payload) in [(4, &b""[..]), (5, b"hello"), (6, &[7; 70_000])] {
        stream.append(&publication(number, payload), at_ms(0));

        let page = stream.page(HistoryFrom::Last(1), ALL, at_ms(0));
        let [past] = &page.publications[..] else {
            panic!("{} publications", page.publications.len());
        };
        let message = &past.message;
        assert_eq!((message.payload(), past.except), (payload, number % 3));
        assert_eq!(message.opcode(), frame::TEXT);
        assert_eq!(message.may_compress(), number != 5);
    }
}

#[test]
fn each_bound_drops_the_oldest() {
    let of_one = kept_bytes(1);
    for (bounds, kept) in [
        (UNBOUNDED, &[1, 2, 3, 4, 5, 6][..]),
        (
            HistoryBounds {
                count: 2,
                ..UNBOUNDED
            },
            &[5, 6],
        ),
        (
            HistoryBounds {
                count: 0,
                ..UNBOUNDED
            },
            &[],
        ),
        (
            HistoryBounds {
                bytes: 3 * of_one,
                ..UNBOUNDED
            },
            &[4, 5, 6],
        ),
        (
            HistoryBounds {
                bytes: 3 * of_one - 1,
                ..UNBOUNDED
            },
            &[5, 6],
        ),
        (
            HistoryBounds {
                bytes: of_one - 1,
                ..UNBOUNDED
            },
            &[],
        ),
        (
            HistoryBounds {
                age_ms: 2_000,
                ..UNBOUNDED
            },
            &[4, 5, 6],
        ),
        (
            HistoryBounds {
                age_ms: 1_999,
                ..UNBOUNDED
            },
            &[5, 6],
        ),
        (
            HistoryBounds {
                age_ms: 0,
                ..UNBOUNDED
            },
            &[6],
        ),
    ] {
        let now = at_ms(6_000);
        assert_eq!(offsets(&stream(6, bounds), now), kept, "{bounds:?}");

        let mut bounded_later = stream(6, UNBOUNDED);
        bounded_later.bound(bounds, now);
        assert_eq!(offsets(&bounded_later, now), kept, "{bounds:?}");
        assert_eq!(bounded_later.head(), bounded_later.position(6));
        if kept.is_empty() {
            assert_eq!(bounded_later.bytes(), 0);
        }
    }
}

#[test]
fn what_is_too_old_is_never_read_and_its_memory_is_freed_a_little_later() {
    let bounds = HistoryBounds {
        age_ms: 64_000,
        ..UNBOUNDED
    };
    let mut stream = stream(3, bounds);
    assert_eq!(stream.look_at(), Some(at_ms(1_000 + 64_000 + 1_000 + 1)));

    assert_eq!(offsets(&stream, at_ms(65_000)), [1, 2, 3]);
    assert_eq!(offsets(&stream, at_ms(65_001)), [2, 3]);
    assert_eq!(stream.drop_old(at_ms(67_001), 2), 2);
    assert!(offsets(&stream, at_ms(67_001)).is_empty());
    assert_eq!(stream.drop_old(at_ms(67_001), 2), 1);

    assert!(stream.is_empty());
    assert_eq!((stream.bytes(), stream.look_at()), (0, None));
    let page = stream.page(after(3), ALL, at_ms(67_001));
    assert!(page.is_complete, "nothing came after the last one");
    let page = stream.page(after(2), ALL, at_ms(67_001));
    assert!(!page.is_complete);
}

#[test]
fn a_repeated_publication_has_the_position_of_the_first_one() {
    let mut stream = stream(300, UNBOUNDED);
    let mut again = |origin, number| {
        let publication = Publication {
            origin,
            ..publication(number, b"again")
        };
        stream.append(&publication, at_ms(300_000))
    };
    let position = |offset| StreamPosition {
        epoch: EPOCH,
        offset,
    };

    assert_eq!(again(ORIGIN, 300), Appended::Repeated(position(300)));
    assert_eq!(again(ORIGIN, 45), Appended::Repeated(position(45)));
    assert_eq!(
        again(ORIGIN, 44),
        Appended::New(position(301)),
        "256 are known"
    );
    for (node, incarnation) in [(1, 5), (0, 6)] {
        let origin = Origin { node, incarnation };
        let Appended::New(at) = again(origin, 300) else {
            panic!("another origin has numbers of its own");
        };
        assert_eq!(again(origin, 300), Appended::Repeated(at));
    }
    // Numbers of several threads do not always rise, and origins take turns.
    assert_eq!(again(ORIGIN, 400), Appended::New(position(304)));
    assert_eq!(again(ORIGIN, 399), Appended::New(position(305)));
    assert_eq!(again(ORIGIN, 300), Appended::Repeated(position(300)));
    assert_eq!(again(ORIGIN, 399), Appended::Repeated(position(305)));
}

/// What a stream has to be, in the plainest way.
#[derive(Default)]
struct Model {
    /// Everything that was ever published, with its time.
    published: Vec<(Vec<u8>, u64)>,
    /// How many of the first are dropped.
    dropped: usize,
}

impl Model {
    fn bound(&mut self, bounds: HistoryBounds, now_ms: u64) {
        loop {
            let kept = &self.published[self.dropped..];
            let bytes: usize = kept
                .iter()
                .map(|(payload, _)| kept_bytes(payload.len()))
                .sum();
            let is_old = |(_, at): &(_, u64)| now_ms - at > bounds.age_ms;
            let is_within = kept.len() <= bounds.count && bytes <= bounds.bytes;
            if kept.is_empty() || is_within && !is_old(&kept[0]) {
                return;
            }
            self.dropped += 1;
        }
    }

    /// Asserts that a page says what was published, and says that nothing is missing only if nothing is.
    fn compare(&self, from: HistoryFrom, limit: PageLimit, page: &Page) {
        let head = self.published.len();
        assert_eq!(page.head.map(|it| it.offset), Some(head as u64));
        let begins = match from {
            HistoryFrom::Last(count) => Some(head - (count as usize).min(head - self.dropped)),
            HistoryFrom::After(at) => {
                let offset = at.offset as usize;
                let is_whole = at.epoch == EPOCH && (self.dropped..=head).contains(&offset);
                is_whole.then_some(offset)
            }
            HistoryFrom::UpTo { last, count, bytes } => {
                let offset = last.offset as usize;
                let is_whole = last.epoch == EPOCH && (self.dropped..=head).contains(&offset);
                is_whole.then(|| {
                    let mut begins = offset;
                    let mut sum = 0;
                    while begins > self.dropped && ((offset - begins) as u64) < count {
                        sum += self.published[begins - 1].0.len();
                        if sum > bytes {
                            break;
                        }
                        begins -= 1;
                    }
                    begins
                })
            }
        };
        assert_eq!(page.is_complete, begins.is_some());
        let Some(begins) = begins else {
            assert!(page.publications.is_empty() && !page.has_more);
            return;
        };
        let rest = &self.published[begins..];
        let (mut bytes, mut count) = (0, 0);
        for (payload, _) in rest {
            bytes += payload.len();
            if count > 0 && (count >= limit.items || bytes > limit.bytes) {
                break;
            }
            count += 1;
        }
        assert_eq!(page.publications.len(), count);
        assert_eq!(page.has_more, count < rest.len());
        for (index, (past, (payload, _))) in page.publications.iter().zip(rest).enumerate() {
            assert_eq!(past.at.offset, (begins + index + 1) as u64);
            assert_eq!(past.message.payload(), payload);
        }
    }
}

#[test]
fn a_page_is_complete_only_if_nothing_is_missing() {
    for_seeds(0..3_000, |dice| {
        let mut bounds = any_bounds(dice);
        let (mut stream, mut model) = (Stream::new(EPOCH, bounds), Model::default());
        let mut now_ms = 0;
        for step in 0..40 {
            match dice.below(8) {
                0 => now_ms += dice.below(400),
                1 => {
                    model.bound(bounds, now_ms);
                    bounds = any_bounds(dice);
                    stream.bound(bounds, at_ms(now_ms));
                    model.bound(bounds, now_ms);
                }
                2..5 => {
                    let payload = vec![step as u8; dice.below(90) as usize];
                    stream.append(&publication(step, &payload), at_ms(now_ms));
                    model.published.push((payload, now_ms));
                    model.bound(bounds, now_ms);
                }
                5 => {
                    stream.drop_old(at_ms(now_ms), usize::MAX);
                    model.bound(bounds, now_ms);
                    stream.drop_oldest();
                    model.dropped = model.published.len().min(model.dropped + 1);
                }
                _ => {
                    let kind = dice.below(6);
                    let position = StreamPosition {
                        epoch: EPOCH + dice.below(8) / 7,
                        offset: dice.below(model.published.len() as u64 + 3),
                    };
                    let from = match kind {
                        0 => HistoryFrom::Last(dice.below(9)),
                        1..4 => HistoryFrom::After(position),
                        _ => HistoryFrom::UpTo {
                            last: position,
                            count: dice.below(9),
                            bytes: dice.below(400) as usize,
                        },
                    };
                    let limit = PageLimit {
                        items: dice.below(9) as usize,
                        bytes: dice.below(400) as usize,
                    };
                    let page = stream.page(from, limit, at_ms(now_ms));
                    model.bound(bounds, now_ms);
                    model.compare(from, limit, &page);
                }
            }
            let kept = stream.kept.iter();
            let bytes: usize = kept.map(|kept| kept_bytes(kept.payload.len())).sum();
            let unused = stream.kept.capacity() - stream.kept.len();
            assert_eq!(stream.bytes(), bytes + unused * PLACE_BYTES);
            assert!(stream.kept.capacity() <= 2 * stream.kept.len());
        }
    });
}

fn any_bounds(dice: &mut Dice) -> HistoryBounds {
    let mut any = |most| match dice.below(3) {
        0 => u64::MAX,
        _ => dice.below(most),
    };
    HistoryBounds {
        count: any(12) as usize,
        age_ms: any(500),
        bytes: any(1_000) as usize,
    }
}
