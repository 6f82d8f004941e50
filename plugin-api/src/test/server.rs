//! A server that serves one handler to the clients of one test.

use std::{
    borrow::Borrow,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    rc::Rc,
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

/// A handler that is loaded, and to which clients may connect. See the [module](crate::test).
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

/// What server and clients share.
pub(super) struct ServerCore {
    pub(super) hub: Arc<Hub>,
    pub(super) sessions: RefCell<BTreeMap<u64, TestSession>>,
    facts: RefCell<HandlerFacts>,
    config_json: String,
    /// Who takes new clients. Older generations live as long as a session of theirs.
    generation: RefCell<Rc<Generation>>,
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
        generation.serve(true);
        Ok(Server {
            core: Rc::new(ServerCore {
                hub,
                sessions: RefCell::default(),
                facts: RefCell::new(facts),
                config_json: config_json.into(),
                generation: RefCell::new(generation),
                now: Cell::default(),
            }),
        })
    }

    /// A client that asks for `/` and says nothing about itself.
    ///
    /// # Panics
    /// The handler refuses it.
    #[must_use]
    pub fn connect(&self) -> Client {
        self.request("/").connect()
    }

    /// A request, `/rooms/blue?name=ann`, to which headers, subprotocols and more can be added.
    pub fn request(&self, target: &str) -> Request {
        Request::new(Rc::clone(&self.core), target)
    }

    /// Puts a newer generation in the place of this one, as the server does when the file of a
    /// handler changes: new clients go to it, and sessions that can, move.
    ///
    /// # Errors
    /// It cannot be loaded, and says why; the older one goes on.
    pub fn reload(&self, handler: impl Borrow<Descriptor>) -> Result<(), String> {
        self.core.reload(HandlerFacts::of(handler.borrow()))
    }

    /// Lets time pass, for every session: timers run out, closes that nobody answers fail. No
    /// time passes otherwise.
    pub fn advance(&self, time: Duration) {
        self.core.advance(time);
    }

    /// What was logged so far, also by the server about the handler.
    #[must_use]
    pub fn log(&self) -> Vec<Line> {
        self.core.hub.lines()
    }

    /// Sets the level that is logged, [`LOG_TRACE`](crate::abi::LOG_TRACE) unless set.
    pub fn set_log_level(&self, level: u32) {
        self.core.hub.level.store(level, Ordering::Relaxed);
    }

    /// How many threads run that the handler began.
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

    pub(super) fn now(&self) -> Duration {
        self.now.get()
    }

    pub(super) fn reload(&self, facts: HandlerFacts) -> Result<(), String> {
        let number = self.generation.borrow().number + 1;
        let newer = Generation::load(&self.hub, facts.clone(), number, &self.config_json)?;
        *self.facts.borrow_mut() = facts;
        let older = self.generation.replace(Rc::clone(&newer));
        newer.serve(true);
        older.serve(false);
        drop(older);
        for session in self.sessions.try_borrow_mut().expect(NESTED).values_mut() {
            session.move_to(&newer);
        }
        self.run();
        Ok(())
    }

    /// The same handler again.
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
            let due = due.chain(self.hub.next_alarm());
            let Some(at) = due.filter(|at| *at > self.now.get() && *at <= until).min() else {
                break;
            };
            drop(sessions);
            // One after another, in the order in which they run out.
            self.now.set(at);
        }
        self.now.set(until);
        self.run();
    }

    /// Runs every session until nothing is left to do.
    pub(super) fn run(&self) {
        let mut sessions = self.sessions.try_borrow_mut().expect(NESTED);
        self.hub.ring_alarms(self.now.get());
        // A session that wakes itself all the time gets its turns, as on a server, but not all.
        for _ in 0..TURNS_MAX {
            let mut progress = false;
            for session in sessions.values_mut() {
                progress |= session.turn(self.now.get());
            }
            if !progress {
                break;
            }
        }
    }

    /// Runs until `answer` finds something, or nothing more will come by itself: no thread of the
    /// handler runs, or `patience` is over. With `always` it waits for threads that nobody counted.
    pub(super) fn run_until<T>(
        &self,
        patience: Duration,
        always: bool,
        mut answer: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let until = Instant::now() + patience;
        loop {
            let seen = self.hub.rings();
            self.run();
            if let Some(found) = answer() {
                return Some(found);
            }
            if !self
                .hub
                .listen(seen, until, |threads| always || threads > 0)
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
        // A handler may go on for a while after its sessions.
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
            "the handler goes on with a session that is over, and nobody wakes it"
        );
    }
}

pub(super) const NESTED: &str =
    "a test's client cannot be used inside a callback of its own server";
/// How often sessions are looked at before the test goes on.
const TURNS_MAX: usize = 10_000;
/// How long a test waits for threads.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
