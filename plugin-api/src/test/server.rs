//! The server of a test: it serves one handler to the test's clients.

mod shared_state;

use std::{
    borrow::Borrow,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    rc::{Rc, Weak},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use crate::{
    abi::Descriptor,
    test::{
        client::Client,
        generation::{Generation, HandlerFacts},
        handshake::{Opening, Request},
        hub::Hub,
        log::Line,
        response_draft::ResponseDraft,
        session::TestSession,
    },
};

/// A server with one handler, to which clients may connect. See the [module](crate::test).
///
/// ```
/// use std::time::Duration;
/// use wsh::prelude::*;
///
/// async fn v1(conn: &mut AsyncConn) -> Result {
///     while conn.recv().await.is_some() {
///         wsh::debug!("asked");
///         conn.send("version 1").await?;
///     }
///     Ok(())
/// }
/// async fn v2(conn: &mut AsyncConn) -> Result {
///     while conn.recv().await.is_some() {
///         conn.send("version 2").await?;
///     }
///     Ok(())
/// }
///
/// let server = wsh::test::serve(wsh::descriptor!(async v1, restarts));
/// server.set_log_level(wsh::abi::LOG_INFO);
/// let mut client = server.connect();
/// let _other = server.request("/?name=ben").connect();
/// client.send("which?");
/// assert_eq!(client.receive().unwrap(), "version 1");
/// assert!(server.log().is_empty(), "debug is not logged");
///
/// server.reload(wsh::descriptor!(async v2, restarts)).unwrap();
/// client.send("which?");
/// assert_eq!(client.receive().unwrap(), "version 2");
/// server.advance(Duration::from_secs(3600)); // an hour passes for every session
/// assert_eq!(server.threads(), 0);
/// ```
pub struct Server {
    pub(super) core: Rc<ServerCore>,
}

/// The part that a server shares with its clients.
pub(super) struct ServerCore {
    pub(super) hub: Arc<Hub>,
    pub(super) sessions: RefCell<BTreeMap<u64, TestSession>>,
    facts: RefCell<HandlerFacts>,
    config_json: String,
    /// The generation that takes new clients. Older generations live as long as their sessions.
    generation: RefCell<Rc<Generation>>,
    /// All generations that may live, for the answers to their asks.
    generations: RefCell<Vec<Weak<Generation>>>,
    now: Cell<Duration>,
}

impl Server {
    pub(super) fn load(
        handler: &Descriptor,
        config_json: &str,
        allows_raw: bool,
    ) -> Result<Server, String> {
        let hub = Arc::new(Hub::new(allows_raw));
        let facts = HandlerFacts::of(handler);
        let generation = Generation::load(&hub, facts.clone(), 1, config_json)?;
        hub.set_callbacks(generation.topic_callbacks());
        generation.serve(true);
        let server = Server {
            core: Rc::new(ServerCore {
                hub,
                sessions: RefCell::default(),
                facts: RefCell::new(facts),
                config_json: config_json.into(),
                generations: RefCell::new(vec![Rc::downgrade(&generation)]),
                generation: RefCell::new(generation),
                now: Cell::default(),
            }),
        };
        // The handler may have asked something in `serving`.
        server.core.run();
        Ok(server)
    }

    /// Connects a client that asks for `/`, without further headers.
    ///
    /// # Panics
    /// The handler refuses the client.
    #[must_use]
    pub fn connect(&self) -> Client {
        self.request("/").connect()
    }

    /// A request for a target such as `/rooms/blue?name=ann`, to which headers, subprotocols and more can be added.
    pub fn request(&self, target: &str) -> Request {
        Request::new(Rc::clone(&self.core), target)
    }

    /// Loads a newer generation in the place of this one, like a server when the file of a handler changes. New clients go
    /// to it, and sessions that can move do so.
    ///
    /// # Errors
    /// A sentence that says why the newer generation cannot be loaded. The older one goes on.
    pub fn reload(&self, handler: impl Borrow<Descriptor>) -> Result<(), String> {
        self.core.reload(HandlerFacts::of(handler.borrow()))
    }

    /// Lets time pass for every session and for what is kept: timers run out, closing handshakes that take too long fail,
    /// and values end. For these, time passes in no other way. Threads of [`spawn`](crate::spawn) run by the real clock.
    pub fn advance(&self, time: Duration) {
        self.core.advance(time);
    }

    /// The lines that the handler has logged so far, and those of the server about the handler.
    #[must_use]
    pub fn log(&self) -> Vec<Line> {
        self.core.hub.lines()
    }

    /// Sets the level that is logged. It is [`LOG_TRACE`](crate::abi::LOG_TRACE) by default.
    pub fn set_log_level(&self, level: u32) {
        self.core.hub.level.store(level, Ordering::Relaxed);
    }

    /// How many threads run that the handler has begun by [`spawn`](crate::spawn).
    #[must_use]
    pub fn threads(&self) -> usize {
        self.core.hub.threads()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl ServerCore {
    pub(super) fn generation(&self) -> Rc<Generation> {
        Rc::clone(&self.generation.borrow())
    }

    /// The generation of this number, if it is not over.
    fn generation_of(&self, number: u64) -> Option<Rc<Generation>> {
        let generations = self.generations.borrow();
        let mut alive = generations.iter().filter_map(Weak::upgrade);
        alive.find(|generation| generation.number == number)
    }

    pub(super) fn now(&self) -> Duration {
        self.now.get()
    }

    pub(super) fn reload(&self, facts: HandlerFacts) -> Result<(), String> {
        let number = self.generation.borrow().number + 1;
        let newer = Generation::load(&self.hub, facts.clone(), number, &self.config_json)?;
        *self.facts.borrow_mut() = facts;
        self.generations.borrow_mut().push(Rc::downgrade(&newer));
        let older = self.generation.replace(Rc::clone(&newer));
        self.hub.set_callbacks(newer.topic_callbacks());
        newer.serve(true);
        older.serve(false);
        drop(older);
        for session in self.sessions.try_borrow_mut().expect(NESTED).values_mut() {
            session.move_to(&newer);
        }
        self.run();
        Ok(())
    }

    /// Loads the handler that was loaded last once more.
    pub(super) fn reload_same(&self) -> Result<(), String> {
        let facts = self.facts.borrow().clone();
        self.reload(facts)
    }

    pub(super) fn advance(&self, time: Duration) {
        let until = self.now.get() + time;
        loop {
            self.run();
            let sessions = self.sessions.borrow();
            let due = sessions.values().filter_map(TestSession::next_deadline);
            let due = due
                .chain(self.hub.next_alarm())
                .chain(self.hub.next_ask_due());
            let Some(at) = due.filter(|at| *at > self.now.get() && *at <= until).min() else {
                break;
            };
            drop(sessions);
            // Deadlines are reached one after another, in their order.
            self.now.set(at);
        }
        self.now.set(until);
        self.run();
    }

    /// Runs every session until nothing is left to do.
    pub(super) fn run(&self) {
        let mut sessions = self.sessions.try_borrow_mut().expect(NESTED);
        self.hub.ring_alarms(self.now.get());
        // A session that wakes itself all the time must not run for ever.
        for _ in 0..TURNS_MAX {
            let mut progress = self.serve_topics();
            for session in sessions.values_mut() {
                progress |= session.turn(self.now.get());
            }
            if !progress {
                break;
            }
        }
    }

    /// Runs until `answer` finds something. It gives up when `patience` is over, or when no thread of the handler is known
    /// to run. With `always` it waits in any case, for threads that the handler began by itself.
    pub(super) fn run_until<T>(
        &self,
        patience: Duration,
        always: bool,
        mut answer: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let until = Instant::now() + patience;
        loop {
            let seen = self.hub.posts();
            self.run();
            if let Some(found) = answer() {
                return Some(found);
            }
            if !self
                .hub
                .wait_for_post(seen, until, |threads| always || threads > 0)
            {
                return None;
            }
        }
    }

    /// Begins an opening handshake.
    pub(super) fn begin_handshake(self: &Rc<Self>, request: &Request) -> Opening {
        let id = self.hub.register();
        let draft = ResponseDraft {
            offered: request.parts.protocols.clone(),
            ..ResponseDraft::default()
        };
        Opening::new(Rc::clone(self), id, request.parts.clone(), draft)
    }
}

impl Drop for ServerCore {
    fn drop(&mut self) {
        self.generation.borrow().serve(false);
        let sessions = self.sessions.get_mut();
        sessions.retain(|_, session| session.is_whole());
        for session in sessions.values_mut() {
            session.lose();
        }
        // A handler may go on for a while after its sessions have ended.
        let ended = self.run_until(PATIENCE, true, || {
            let sessions = self.sessions.borrow();
            sessions
                .values()
                .all(TestSession::is_destroyed)
                .then_some(())
        });
        self.sessions.get_mut().clear();
        assert!(
            ended.is_some() || std::thread::panicking(),
            "the handler answers PENDING for a session that is over, and nothing has woken it in {PATIENCE:?}"
        );
    }
}

pub(super) const NESTED: &str =
    "a test's client cannot be used inside a callback of its own server";
/// How many rounds of turns the sessions get before the test goes on.
const TURNS_MAX: usize = 10_000;
/// How long a test waits for threads.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
