//! Whether the server wants new clients: what a load balancer asks before it sends one here.
//!
//! Two things decide it, and each changes on its own: how far the server is in its life, and whether it is overloaded.
//! Old clients are served in every state.

use tokio::sync::watch;

/// The answer to the question whether new clients should come here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Handlers are being loaded, and no connection is accepted yet.
    Starting,
    Ready,
    /// The server is short of something. Other servers should get the new clients until that is over.
    Overloaded,
    /// The server is about to end, or ends.
    Draining,
}

/// How far the server is in its life. It only goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum LifePhase {
    #[default]
    Starting,
    Serving,
    Draining,
}

/// What decides the readiness of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Situation {
    phase: LifePhase,
    is_overloaded: bool,
}

/// The readiness of this server. It is told of each change that decides it.
#[derive(Debug, Default)]
pub(crate) struct ServerReadiness(watch::Sender<Situation>);

/// The changes of a readiness.
#[derive(Debug)]
pub(crate) struct ReadinessChanges(watch::Receiver<Situation>);

impl ReadinessChanges {
    /// Ends with the next change since the last call.
    pub(crate) async fn next(&mut self) {
        // The sender lives as long as the server.
        let _ = self.0.changed().await;
    }
}

impl Readiness {
    fn of(situation: Situation) -> Readiness {
        match (situation.phase, situation.is_overloaded) {
            (LifePhase::Starting, _) => Readiness::Starting,
            (LifePhase::Serving, false) => Readiness::Ready,
            (LifePhase::Serving, true) => Readiness::Overloaded,
            (LifePhase::Draining, _) => Readiness::Draining,
        }
    }

    pub(crate) fn is_ready(self) -> bool {
        self == Readiness::Ready
    }

    /// The word for it, for load balancers and operators.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Readiness::Starting => "starting",
            Readiness::Ready => "ready",
            Readiness::Overloaded => "overloaded",
            Readiness::Draining => "draining",
        }
    }
}

impl ServerReadiness {
    /// The readiness now.
    pub(crate) fn now(&self) -> Readiness {
        Readiness::of(*self.0.borrow())
    }

    /// Hears of each change.
    pub(crate) fn subscribe(&self) -> ReadinessChanges {
        ReadinessChanges(self.0.subscribe())
    }

    /// Notes that connections are accepted.
    pub(crate) fn begin_serving(&self) {
        self.advance(LifePhase::Serving);
    }

    /// Notes that the server is about to end. That does not change any more.
    pub(crate) fn begin_draining(&self) {
        self.advance(LifePhase::Draining);
    }

    /// Notes that an overload has begun or is over.
    pub(crate) fn set_overloaded(&self, is_overloaded: bool) {
        self.0.send_if_modified(|now| {
            std::mem::replace(&mut now.is_overloaded, is_overloaded) != is_overloaded
        });
    }

    fn advance(&self, phase: LifePhase) {
        self.0.send_if_modified(|now| {
            let before = now.phase;
            now.phase = before.max(phase);
            now.phase != before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_clients_are_wanted_only_while_the_server_serves_and_is_not_overloaded() {
        use self::LifePhase::{Draining, Serving, Starting};
        for (phase, is_overloaded, expected, word) in [
            (Starting, false, Readiness::Starting, "starting"),
            (Starting, true, Readiness::Starting, "starting"),
            (Serving, false, Readiness::Ready, "ready"),
            (Serving, true, Readiness::Overloaded, "overloaded"),
            (Draining, false, Readiness::Draining, "draining"),
            (Draining, true, Readiness::Draining, "draining"),
        ] {
            let found = Readiness::of(Situation {
                phase,
                is_overloaded,
            });
            assert_eq!(found, expected, "{phase:?} {is_overloaded}");
            assert_eq!(found.word(), word);
            assert_eq!(found.is_ready(), found == Readiness::Ready);
        }
    }

    #[test]
    fn a_server_that_drains_is_never_ready_again() {
        let readiness = ServerReadiness::default();
        assert_eq!(readiness.now(), Readiness::Starting);
        readiness.set_overloaded(true);
        readiness.begin_serving();
        assert_eq!(readiness.now(), Readiness::Overloaded);
        readiness.set_overloaded(false);
        assert_eq!(readiness.now(), Readiness::Ready);

        readiness.begin_draining();
        readiness.begin_serving();

        assert_eq!(readiness.now(), Readiness::Draining);
    }
}
