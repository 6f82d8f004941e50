//! The rules of the module's text, held against random histories by a second account of them.

use proptest::prelude::*;

use super::tests::{lasting, ms, passing, stamp, taken, told, turn};
use super::*;

/// What has been seen of a file, as the rules of the module's text speak of it. It is told every
/// observation and every action, and knows nothing of states.
struct History {
    stamp: Stamp,
    /// When the file came to look as it does, and by a write in place.
    changed: (Instant, bool),
    last_look: Look,
    /// Since when each look has found nothing.
    absent_since: Option<Instant>,
    /// What was decided of the content, and when that ends by itself.
    decided: Option<Decided>,
    /// What passing refusals of this content came after one another: how many, and the last.
    obstructed: (u32, Option<Refusal>),
    helpers_lost: u32,
}

/// What the last look saw.
#[derive(Clone, Copy, PartialEq)]
enum Look {
    Readable,
    Barred,
    Hidden,
    Nothing,
}

#[derive(Clone, Copy, PartialEq)]
enum Decided {
    UntilItChanges,
    UntilTheRouteIsFree,
    Until(Instant),
}

impl History {
    fn new(stamp: Stamp, now: Instant) -> History {
        History {
            stamp,
            changed: (now, false),
            last_look: Look::Readable,
            absent_since: None,
            decided: None,
            obstructed: (0, None),
            helpers_lost: 0,
        }
    }

    fn forget_obstruction(&mut self) {
        (self.obstructed, self.helpers_lost) = ((0, None), 0);
    }

    /// Whether a turn at a free route must lead to a reading, by the rules.
    fn is_to_be_read(&self, turn: &Turn, now: Instant) -> bool {
        let (since, is_in_place) = self.changed;
        let quiet = if is_in_place { ms(200) } else { ms(25) };
        let is_left_alone = turn.is_eager || (now - since).max(turn.age) >= quiet;
        let is_retry_due = !matches!(self.decided, Some(Decided::Until(at)) if now < at);
        self.is_waiting() && is_retry_due && is_left_alone
    }

    /// Whether something is still to be decided of it, and can be.
    fn is_waiting(&self) -> bool {
        self.last_look == Look::Readable && matches!(self.decided, None | Some(Decided::Until(_)))
    }

    /// Notes an observation, and holds the action against the rules.
    fn check(&mut self, observation: &Observation, action: &FileAction, now: Instant) {
        let is_open = self.decided.is_none();
        match observation {
            Observation::Found(stamp) => {
                if *stamp != self.stamp {
                    self.changed = (now, stamp.inode == self.stamp.inode);
                    self.decided = None;
                    if !stamp.has_same_content_as(&self.stamp) {
                        self.forget_obstruction();
                    }
                    self.stamp = *stamp;
                }
                (self.last_look, self.absent_since) = (Look::Readable, None);
            }
            Observation::Barred => {
                (self.last_look, self.absent_since, self.decided) = (Look::Barred, None, None);
            }
            Observation::Hidden => (self.last_look, self.absent_since) = (Look::Hidden, None),
            Observation::Absent => {
                let since = *self.absent_since.get_or_insert(now);
                (self.last_look, self.decided) = (Look::Nothing, None);
                let is_removal = now - since >= ms(400);
                assert_eq!(*action == FileAction::Remove, is_removal, "a removal lasts");
            }
            Observation::Turn(turn) => {
                let is_due = self.is_to_be_read(turn, now);
                match &turn.route {
                    RouteState::Free => {
                        assert_eq!(*action == FileAction::Read, is_due, "it is read")
                    }
                    RouteState::Taken(_) if is_due => {
                        self.decided = Some(Decided::UntilTheRouteIsFree);
                        self.forget_obstruction();
                        assert_eq!(told(action), taken());
                    }
                    _ => {}
                }
            }
            Observation::Read(_) if !self.is_waiting() => assert_eq!(*action, FileAction::Nothing),
            Observation::Read(result) => self.check_read(result, action, now),
            Observation::Loaded => self.forget_obstruction(),
            Observation::Refused(refusal) => self.check_refusal(refusal, action, is_open, now),
            Observation::Hurried => {
                if let Some(Decided::Until(_)) = self.decided {
                    self.decided = None;
                }
            }
            Observation::RouteFreed => {
                if let Some(Decided::UntilTheRouteIsFree) = self.decided {
                    self.decided = None;
                }
            }
            Observation::Reconfigured => self.decided = None,
        }
        if *action == FileAction::Load {
            assert_eq!(*observation, Observation::Read(ReadResult::Fit));
        }
        if *action == FileAction::Remove {
            assert_eq!(*observation, Observation::Absent);
        }
    }

    fn check_read(&mut self, result: &ReadResult, action: &FileAction, now: Instant) {
        match (result, action) {
            (ReadResult::Fit, FileAction::Load) => self.decided = Some(Decided::UntilItChanges),
            (ReadResult::Serving, FileAction::Keep { .. }) => {
                self.decided = Some(Decided::UntilItChanges);
                self.forget_obstruction();
            }
            (ReadResult::Unfit(refusal) | ReadResult::Failed(refusal), FileAction::Refuse(_)) => {
                self.decided = Some(Decided::UntilItChanges);
                self.check_refusal(refusal, action, false, now);
                if matches!(result, ReadResult::Unfit(_)) && refusal.may_be_incomplete() {
                    assert!(now - self.changed.0 >= ms(1_000), "it is waited for");
                }
            }
            (ReadResult::Unfit(refusal), FileAction::Wait { until }) => {
                assert!(refusal.may_be_incomplete());
                assert_eq!(*until, self.changed.0 + ms(1_000));
            }
            (ReadResult::Changed, FileAction::Wait { .. })
            | (ReadResult::Gone, FileAction::Nothing) => {}
            (result, action) => panic!("{action:?} after {result:?}"),
        }
    }

    fn check_refusal(
        &mut self,
        refusal: &Refusal,
        action: &FileAction,
        is_open: bool,
        now: Instant,
    ) {
        let FileAction::Refuse(refuse) = action else {
            panic!("{action:?} after {refusal:?}");
        };
        let is_there = matches!(self.last_look, Look::Readable | Look::Hidden);
        if !refusal.is_passing() {
            assert_eq!((refuse.retry, refuse.is_news), (None, true));
            return self.forget_obstruction();
        }
        // Of content that is not decided on, it was said of the content before.
        if is_open && is_there {
            assert_eq!(refuse.retry, Some(now), "it holds nothing up");
            return;
        }
        self.helpers_lost += u32::from(*refusal == Refusal::LosesHelper);
        if self.helpers_lost >= 3 {
            assert_eq!(refuse.refusal, Refusal::LostHelper { trials: 3 });
            return self.forget_obstruction();
        }
        let (attempts, last) = &self.obstructed;
        let pause = ms(250 << attempts.min(&5));
        assert_eq!(refuse.retry, Some(now + pause));
        assert_eq!(refuse.is_news, last.as_ref() != Some(refusal), "told once");
        self.obstructed = (attempts + 1, Some(refusal.clone()));
        if self.decided.is_some() {
            self.decided = Some(Decided::Until(now + pause));
        }
    }
}

fn any_refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        Just(passing()),
        Just(Refusal::NoThread("none".to_owned())),
        Just(Refusal::LosesHelper),
        Just(Refusal::LosesHelper),
        Just(lasting()),
        Just(Refusal::Empty),
    ]
}

fn any_route() -> impl Strategy<Value = RouteState> {
    prop_oneof![
        4 => Just(RouteState::Free),
        1 => Just(RouteState::Loading),
        1 => Just(RouteState::Taken(taken())),
    ]
}

fn any_read() -> impl Strategy<Value = ReadResult> {
    prop_oneof![
        Just(ReadResult::Gone),
        Just(ReadResult::Changed),
        Just(ReadResult::Serving),
        Just(ReadResult::Fit),
        Just(ReadResult::Fit),
        any_refusal().prop_map(ReadResult::Unfit),
        any_refusal().prop_map(ReadResult::Failed),
    ]
}

fn any_observation() -> impl Strategy<Value = Observation> {
    prop_oneof![
        3 => (1..3u64, 1..3i128, 1..3i128).prop_map(|(f, w, m)| Observation::Found(stamp(f, w, m))),
        1 => Just(Observation::Barred),
        1 => Just(Observation::Hidden),
        2 => Just(Observation::Absent),
        4 => (any::<bool>(), 0..300u64, any_route()).prop_map(|(e, age, r)| turn(e, ms(age), r)),
        4 => any_read().prop_map(Observation::Read),
        1 => Just(Observation::Loaded),
        3 => any_refusal().prop_map(Observation::Refused),
        1 => Just(Observation::Hurried),
        1 => Just(Observation::RouteFreed),
        1 => Just(Observation::Reconfigured),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_a_file_the_rules_hold(
        happens in prop::collection::vec((0..400u64, any_observation()), 1..60)
    ) {
        let mut now = Instant::now();
        let first = stamp(1, 1, 1);
        let (mut file, mut history) = (Belief::new(first, now), History::new(first, now));
        for (pause, observation) in happens {
            now += ms(pause);
            let (next, action) = file.after(&observation, now);
            history.check(&observation, &action, now);
            if action == FileAction::Remove {
                break; // The reconciler forgets the file.
            }
            file = next;
        }
    }
}
