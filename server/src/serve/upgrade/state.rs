//! The replacement of a running server by another program, as a state machine.

/// How far a replacement has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpgradeState {
    /// No other process is there, and one can be started.
    Idle,
    /// Another process was started, and is not ready yet. This one serves.
    Starting,
    /// The other process serves, and this one drains.
    HandedOver,
    /// This process stops, and none takes its place.
    Stopped,
}

/// What happens to a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpgradeEvent {
    /// The operator wants another process in place of this one.
    Asked,
    /// The other process serves all that this one serves.
    Ready,
    /// The other process could not be started, has ended, takes too long or serves less than this one.
    Failed,
    /// The operator stops this process.
    Stopped,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpgradeAction {
    Nothing,
    /// Start the other process.
    Start,
    /// Log that one was started already.
    TellUnderWay,
    /// Accept nothing more, leave the sockets and their files to the other process, and drain.
    HandOver,
    /// End the other process, and log why this one serves on.
    GiveUp,
    /// End the other process without a word.
    End,
}

/// The state after an event, and what to do about it.
pub(super) fn step(state: UpgradeState, event: UpgradeEvent) -> (UpgradeState, UpgradeAction) {
    use UpgradeAction::{End, GiveUp, HandOver, Nothing, Start, TellUnderWay};
    use UpgradeState::{HandedOver, Idle, Starting, Stopped};
    match (state, event) {
        (Idle, UpgradeEvent::Asked) => (Starting, Start),
        (Starting, UpgradeEvent::Asked) => (Starting, TellUnderWay),
        (Starting, UpgradeEvent::Ready) => (HandedOver, HandOver),
        (Starting, UpgradeEvent::Failed) => (Idle, GiveUp),
        (Starting, UpgradeEvent::Stopped) => (Stopped, End),
        (Idle, UpgradeEvent::Stopped) => (Stopped, Nothing),
        // It was ended because this process stops.
        (Stopped, UpgradeEvent::Ready) => (Stopped, End),
        (Idle, UpgradeEvent::Ready | UpgradeEvent::Failed) | (HandedOver | Stopped, _) => {
            (state, Nothing)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_is_started_and_either_takes_over_or_is_ended() {
        use UpgradeAction::{End, GiveUp, HandOver, Nothing, Start, TellUnderWay};
        use UpgradeEvent::{Asked, Failed, Ready};
        use UpgradeState::{HandedOver, Idle, Starting, Stopped};
        for (state, event, expected) in [
            (Idle, Asked, (Starting, Start)),
            (Idle, Ready, (Idle, Nothing)),
            (Idle, Failed, (Idle, Nothing)),
            (Idle, UpgradeEvent::Stopped, (Stopped, Nothing)),
            (Starting, Asked, (Starting, TellUnderWay)),
            (Starting, Ready, (HandedOver, HandOver)),
            (Starting, Failed, (Idle, GiveUp)),
            (Starting, UpgradeEvent::Stopped, (Stopped, End)),
            // The other process has the sockets, and lives on however this one ends.
            (HandedOver, Asked, (HandedOver, Nothing)),
            (HandedOver, Ready, (HandedOver, Nothing)),
            (HandedOver, Failed, (HandedOver, Nothing)),
            (HandedOver, UpgradeEvent::Stopped, (HandedOver, Nothing)),
            // A stop wins over an upgrade, in whatever order their ends come.
            (Stopped, Asked, (Stopped, Nothing)),
            (Stopped, Ready, (Stopped, End)),
            (Stopped, Failed, (Stopped, Nothing)),
            (Stopped, UpgradeEvent::Stopped, (Stopped, Nothing)),
        ] {
            assert_eq!(step(state, event), expected, "{state:?} {event:?}");
        }
    }
}
