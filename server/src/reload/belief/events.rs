//! What happens to a plugin's file, and what the reconciler is to do then.

use std::time::{Duration, Instant};

use crate::plugin::refusal::Refusal;
use crate::reload::scan::Stamp;

/// What happens to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::reload) enum Observation {
    /// A look has found it, and it looks like this.
    Found(Stamp),
    /// A look has found that it must not be read.
    Barred,
    /// A look could not read something on the way to it.
    Hidden,
    /// A look has found nothing at its path.
    Absent,
    /// The reconciler has time for it now.
    Turn(Turn),
    /// It was read, with this result.
    Read(ReadResult),
    /// A content of it was loaded.
    Loaded,
    /// A content of it was refused, by the scan or by a load.
    Refused(Refusal),
    /// An operator or a program wants it looked at now.
    Hurried,
    /// No other file answers at its route any more.
    RouteFreed,
    /// What it would be loaded with has changed.
    Reconfigured,
}

/// What decides about a file's turn, beside what is known of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::reload) struct Turn {
    /// Whether files are to be taken for whole although they are young.
    pub(in crate::reload) is_eager: bool,
    /// How long ago the file was last written to, by the system's clock.
    pub(in crate::reload) age: Duration,
    pub(in crate::reload) route: RouteState,
}

/// What stands at the route of a file's handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::reload) enum RouteState {
    /// Nothing that keeps the file from being loaded.
    Free,
    /// A load for this route is under way. Its end is another turn.
    Loading,
    /// Sessions are moving to the generation that serves there, until this time at most.
    ///
    /// A load waits for them. Otherwise, on a busy machine, one generation after another would overtake
    /// them, and in the end they would be closed for being on too old a one.
    Moving { until: Instant },
    /// Another file, which the refusal names.
    Taken(Refusal),
}

/// The result of reading a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::reload) enum ReadResult {
    /// It has just gone, which the next look sees.
    Gone,
    /// It looks different from what the last look saw.
    Changed,
    /// It could not be read.
    Failed(Refusal),
    /// The generation that serves was made from this very content.
    Serving,
    /// Its content is no plugin that can be loaded.
    Unfit(Refusal),
    /// Its content can be loaded.
    Fit,
}

/// What the reconciler is to do about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::reload) enum FileAction {
    Nothing,
    /// Look again at this time at the latest.
    Wait {
        until: Instant,
    },
    /// Count this as a change that an event should have told of.
    NoteChange,
    /// Count this as a change, and look at this time whether the file is back.
    AwaitReturn {
        until: Instant,
    },
    /// Forget the file, and remove the handler that was loaded from it.
    Remove,
    /// Read it.
    Read,
    /// Load what was read.
    Load,
    /// Let the generation that serves go on: it was made from this content. `has_passed` says that
    /// something was in the way until now.
    Keep {
        has_passed: bool,
    },
    /// Say that what was in the way has passed.
    TellPassed,
    /// Say why the file is not loaded.
    Refuse(RefusalNotice),
}

/// A refusal, and how it is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::reload) struct RefusalNotice {
    pub(in crate::reload) refusal: Refusal,
    /// When the file is tried again; `None` when only a change of the file helps.
    pub(in crate::reload) retry: Option<Instant>,
    /// Whether this was not said before.
    pub(in crate::reload) is_news: bool,
}

impl FileAction {
    /// Whether an event should have told of what was found.
    pub(in crate::reload) fn is_change(&self) -> bool {
        matches!(
            self,
            FileAction::NoteChange | FileAction::AwaitReturn { .. }
        )
    }
}
