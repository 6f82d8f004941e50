//! When a plugin's file is believed.
//!
//! A file may be half written, may be out of sight for a moment, and may be refused for a reason that
//! is not its own. [`Belief`] is what is known of one file. [`Belief::after`] says what an observation
//! makes of it, and what is to be done then. It reads no file and no clock: the reconciler observes,
//! and performs what it is told.
//!
//! The rules, which the tests hold it to:
//! - A file is read when it has been left alone: for 25 ms, or for 200 ms if it is written in place. A caller
//!   that waits for the look, such as `wshd dev`, says by that that files are whole: nothing is waited for.
//! - A decision holds until the file looks different, its configuration changes, its route is freed or
//!   a retry is due. New content begins anew, whatever became of the content before it.
//! - The rest of an incomplete file is waited for one second.
//! - Only an absence that lasts 400 ms without a break is a removal. What cannot be looked at is
//!   neither present nor gone.
//! - A refusal that is no fault of the file is told once. The file is tried again after 250 ms, then
//!   after twice as long each time, 8 s at most.
//! - A file whose trials lose the helper process three times is at fault itself.

mod events;

use std::time::{Duration, Instant};

pub(super) use self::events::{
    FileAction, Observation, ReadResult, RefusalNotice, RouteState, Turn,
};
use super::scan::Stamp;
use crate::plugin::refusal::Refusal;

/// What is known of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Belief {
    state: FileState,
    appearance: Appearance,
    obstruction: Option<Obstruction>,
}

/// Whether a file is there, and what was decided of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileState {
    /// It is there and may be read.
    Present(Decision),
    /// Something on the way to it cannot be read. The decision holds.
    Hidden(Decision),
    /// It is there and must not be read. It is decided anew when it may be read.
    Barred,
    /// It has been missing since this time. It is decided anew when it comes back.
    Missing { since: Instant },
}

/// What was decided of the content that a file has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// Nothing: it is read at its next turn.
    Open,
    /// It is loaded or being loaded, it serves already, or it is refused until the file changes.
    Made,
    /// It is refused as long as another file answers at its route.
    AwaitsRoute,
    /// Something other than the file was in the way. The file is tried again at this time.
    AwaitsRetry { at: Instant },
}

/// How a file looks to a look that does not read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Appearance {
    stamp: Stamp,
    /// When it was first seen to look like this.
    since: Instant,
    /// Whether it was written into, and not replaced, when it came to look like this.
    is_written_in_place: bool,
}

/// What is in the way of loading a content, and is no fault of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Obstruction {
    /// The attempts that it has stopped.
    attempts: u32,
    /// The reason that was told last.
    told: Refusal,
    /// The number of trials that lost the helper process while no other trial was under way.
    helpers_lost: u32,
}

impl Belief {
    /// A file that was just found, of which nothing is decided.
    pub(super) fn new(stamp: Stamp, now: Instant) -> Belief {
        Belief {
            state: FileState::Present(Decision::Open),
            appearance: Appearance {
                stamp,
                since: now,
                is_written_in_place: false,
            },
            obstruction: None,
        }
    }

    /// How the file looked when it was last found.
    pub(super) fn stamp(&self) -> Stamp {
        self.appearance.stamp
    }

    /// Whether the file is to be given a turn.
    pub(super) fn wants_turn(&self) -> bool {
        use Decision::{AwaitsRetry, Open};
        matches!(self.state, FileState::Present(Open | AwaitsRetry { .. }))
    }

    /// Whether the file is there and nothing is decided of it.
    pub(super) fn is_open(&self) -> bool {
        self.state == FileState::Present(Decision::Open)
    }

    /// Whether the file waits for another one to leave its route.
    pub(super) fn awaits_route(&self) -> bool {
        self.decision() == Some(Decision::AwaitsRoute)
    }

    /// What becomes of the file by an observation, and what is to be done.
    pub(super) fn after(&self, observation: &Observation, now: Instant) -> (Belief, FileAction) {
        let mut next = self.clone();
        let action = match observation {
            Observation::Found(stamp) => next.found(*stamp, now),
            Observation::Barred => {
                next.state = FileState::Barred;
                FileAction::Nothing
            }
            Observation::Hidden => {
                next.state = FileState::Hidden(self.decision().unwrap_or(Decision::Open));
                FileAction::Nothing
            }
            Observation::Absent => next.absent(now),
            Observation::Turn(turn) if self.wants_turn() => next.turn(turn, now),
            Observation::Read(result) if self.wants_turn() => next.read(result, now),
            Observation::Turn(_) | Observation::Read(_) => FileAction::Nothing,
            Observation::Loaded => match next.obstruction.take() {
                Some(_) => FileAction::TellPassed,
                None => FileAction::Nothing,
            },
            Observation::Refused(refusal) => next.refused(refusal, now),
            Observation::Hurried => {
                if let Some(Decision::AwaitsRetry { .. }) = self.decision() {
                    next.decide(Decision::Open);
                }
                FileAction::Nothing
            }
            Observation::RouteFreed if self.awaits_route() => {
                next.decide(Decision::Open);
                FileAction::Wait { until: now }
            }
            Observation::RouteFreed => FileAction::Nothing,
            Observation::Reconfigured => {
                next.decide(Decision::Open);
                FileAction::Nothing
            }
        };
        (next, action)
    }

    /// A look has found the file.
    fn found(&mut self, stamp: Stamp, now: Instant) -> FileAction {
        let was_missing = matches!(self.state, FileState::Missing { .. });
        let before = self.appearance;
        let decision = if stamp == before.stamp {
            self.decision().unwrap_or(Decision::Open)
        } else {
            self.appearance = Appearance {
                stamp,
                since: now,
                is_written_in_place: stamp.inode == before.stamp.inode,
            };
            Decision::Open
        };
        self.state = FileState::Present(decision);
        let has_other_content = !stamp.has_same_content_as(&before.stamp);
        if has_other_content {
            self.obstruction = None;
        }
        // No event tells of a mode, an owner or one more hard link.
        if has_other_content || was_missing {
            FileAction::NoteChange
        } else {
            FileAction::Nothing
        }
    }

    /// A look has found nothing. A build removes and makes again.
    fn absent(&mut self, now: Instant) -> FileAction {
        let FileState::Missing { since } = self.state else {
            self.state = FileState::Missing { since: now };
            return FileAction::AwaitReturn {
                until: now + REMOVAL_DELAY,
            };
        };
        let until = since + REMOVAL_DELAY;
        if now < until {
            FileAction::Wait { until }
        } else {
            FileAction::Remove
        }
    }

    /// What is to be done about an undecided file.
    fn turn(&mut self, turn: &Turn, now: Instant) -> FileAction {
        if let Some(until) = self.left_alone_until(turn, now) {
            return FileAction::Wait { until };
        }
        match &turn.route {
            RouteState::Free => FileAction::Read,
            RouteState::Loading => FileAction::Nothing,
            RouteState::Moving { until } => FileAction::Wait { until: *until },
            RouteState::Taken(refusal) => {
                self.decide(Decision::AwaitsRoute);
                self.refused(refusal, now)
            }
        }
    }

    /// Until when the file is left alone, because it may be being written or its retry is not due.
    ///
    /// The wait also closes a gap: a write within the same tick of the file system's clock as the one
    /// before it would leave the stamp as it was.
    fn left_alone_until(&self, turn: &Turn, now: Instant) -> Option<Instant> {
        if let Some(Decision::AwaitsRetry { at }) = self.decision()
            && now < at
        {
            return Some(at);
        }
        if turn.is_eager {
            return None;
        }
        let quiet = if self.appearance.is_written_in_place {
            QUIET_IN_PLACE
        } else {
            QUIET
        };
        // What was renamed into the directory may have been whole for long.
        let left = quiet.saturating_sub(self.seen_for(now).max(turn.age));
        (!left.is_zero()).then(|| now + left)
    }

    /// An undecided file was read.
    fn read(&mut self, result: &ReadResult, now: Instant) -> FileAction {
        match result {
            ReadResult::Gone => FileAction::Nothing,
            ReadResult::Changed => FileAction::Wait { until: now + QUIET },
            ReadResult::Serving => {
                self.decide(Decision::Made);
                let has_passed = self.obstruction.take().is_some();
                FileAction::Keep { has_passed }
            }
            ReadResult::Unfit(refusal)
                if refusal.may_be_incomplete() && self.seen_for(now) < INCOMPLETE_DELAY =>
            {
                let until = now + (INCOMPLETE_DELAY - self.seen_for(now));
                FileAction::Wait { until }
            }
            ReadResult::Failed(refusal) | ReadResult::Unfit(refusal) => {
                self.decide(Decision::Made);
                self.refused(refusal, now)
            }
            ReadResult::Fit => {
                self.decide(Decision::Made);
                FileAction::Load
            }
        }
    }

    /// A content was refused: the one that the file has now, unless that is still undecided.
    fn refused(&mut self, refusal: &Refusal, now: Instant) -> FileAction {
        let refuse = |refusal, retry, is_news| {
            FileAction::Refuse(RefusalNotice {
                refusal,
                retry,
                is_news,
            })
        };
        if refusal.is_passing() && self.decision() == Some(Decision::Open) {
            return refuse(refusal.clone(), Some(now), true);
        }
        let before = self.obstruction.take();
        let helpers_lost = before.as_ref().map_or(0, |it| it.helpers_lost)
            + u32::from(*refusal == Refusal::LosesHelper);
        if *refusal == Refusal::LosesHelper && helpers_lost >= HELPERS_LOST_MAX {
            let trials = helpers_lost;
            return refuse(Refusal::LostHelper { trials }, None, true);
        }
        if !refusal.is_passing() {
            return refuse(refusal.clone(), None, true);
        }
        let is_news = before.as_ref().is_none_or(|it| it.told != *refusal);
        let attempts = before.map_or(0, |it| it.attempts);
        let at = now + retry_delay(attempts);
        self.obstruction = Some(Obstruction {
            attempts: attempts + 1,
            told: refusal.clone(),
            helpers_lost,
        });
        self.decide(Decision::AwaitsRetry { at });
        refuse(refusal.clone(), Some(at), is_news)
    }

    /// What was decided of the content; `None` where that is forgotten.
    fn decision(&self) -> Option<Decision> {
        match self.state {
            FileState::Present(decision) | FileState::Hidden(decision) => Some(decision),
            FileState::Barred | FileState::Missing { .. } => None,
        }
    }

    /// Notes a decision, unless it would be forgotten anyway.
    fn decide(&mut self, decided: Decision) {
        match &mut self.state {
            FileState::Present(decision) | FileState::Hidden(decision) => *decision = decided,
            FileState::Barred | FileState::Missing { .. } => {}
        }
    }

    /// For how long the file has looked as it does.
    fn seen_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.appearance.since)
    }
}

/// From a failed attempt to the next one, after so many attempts before.
fn retry_delay(attempts: u32) -> Duration {
    RETRY_DELAY_MIN
        .saturating_mul(1 << attempts.min(16))
        .min(RETRY_DELAY_MAX)
}

/// The first retry: whatever was in the way may have been there for a moment only.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(250);
/// The longest pause between retries: a retry reads the file, which costs little, and an operator who has
/// made space should not wait long.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(8);
/// So many trials that lose the helper process are no accident.
const HELPERS_LOST_MAX: u32 = 3;
/// How long a file must have been left alone to be read.
const QUIET: Duration = Duration::from_millis(25);
/// How long a file that is written in place must have been left alone: such a writer may pause.
const QUIET_IN_PLACE: Duration = Duration::from_millis(200);
/// How long an absence must last to be a removal. New clients get 404 within half a second of one.
const REMOVAL_DELAY: Duration = Duration::from_millis(400);
/// How long the rest of an incomplete file is waited for.
const INCOMPLETE_DELAY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod tests;
