//! The events style, through the border, on the server of `wsh::test`.

use std::{
    panic::panic_any,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

use wsh::{Refused, State, prelude::*, test::Server};

/// Does what it is told by text, and says what happened to it.
#[derive(Default)]
struct Puppet {
    /// What fails, and how: `panic ping`.
    fault: String,
}

impl Puppet {
    fn maybe_fail(&self, callback: &str) {
        match self.fault.strip_suffix(callback) {
            Some("panic ") => panic!("as asked"),
            Some("bomb ") => panic_any(Bomb),
            Some("fail ") => wsh::fail(format!("{callback} fails")),
            _ => {}
        }
    }
}

/// A panic's payload that panics when it is dropped, and carries one more.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any(Bomb);
    }
}

impl Session for Puppet {
    fn on_open(&mut self, conn: &mut Conn) {
        conn.send("open");
    }

    fn on_message(&mut self, conn: &mut Conn, message: Message) {
        self.maybe_fail("message");
        let Some(text) = message.as_text() else {
            conn.send(message);
            return;
        };
        let words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            ["panic" | "bomb" | "fail", _] => self.fault = text.into(),
            ["close", code] => drop(conn.close(code.parse().unwrap(), "done")),
            ["abort"] => drop(conn.abort()),
            ["ping", data] => drop(conn.ping(data.as_bytes())),
            ["long ping"] => drop(conn.ping(&[0; 126])),
            ["timer", token, ms] => {
                let after = Duration::from_millis(ms.parse().unwrap());
                conn.timer(token.parse().unwrap(), after);
            }
            ["cancel", token] => drop(conn.cancel_timer(token.parse().unwrap())),
            ["join", topic] => drop(conn.subscribe(topic)),
            ["leave", topic] => drop(conn.unsubscribe(topic)),
            ["publish", topic] => {
                let reached = conn.publish(topic, "news");
                conn.send(reached.to_string());
            }
            ["pause"] => {
                conn.pause();
                conn.timer(99, Duration::from_secs(1));
            }
            ["watermark"] => drop(conn.watermark(0, 100)),
            ["fill", bytes] => {
                let answer = conn.send(vec![0; bytes.parse().unwrap()]).result();
                wsh::info!(answer = ?answer, "filled");
            }
            _ => drop(conn.send(message)),
        }
    }

    fn on_ping(&mut self, conn: &mut Conn, data: &[u8]) {
        self.maybe_fail("ping");
        conn.send(format!("ping {}", data.escape_ascii()));
    }

    fn on_pong(&mut self, conn: &mut Conn, data: &[u8]) {
        self.maybe_fail("pong");
        conn.send(format!("pong {}", data.escape_ascii()));
    }

    fn on_drain(&mut self, conn: &mut Conn) {
        self.maybe_fail("drain");
        conn.send("drain");
    }

    fn on_timer(&mut self, conn: &mut Conn, token: u64) {
        self.maybe_fail("timer");
        conn.resume();
        conn.send(format!("timer {token}"));
    }

    fn on_closing(&mut self, conn: &mut Conn, close: &Close) {
        self.maybe_fail("closing");
        if close.code == 3000 {
            conn.close(3001, "other");
        }
    }

    fn on_close(&mut self, close: Close) {
        self.maybe_fail("close");
        wsh::info!(code = close.code, reason = close.reason, "closed");
    }
}

/// A server and a client of its that has got its greeting.
fn puppet() -> (Server, wsh::test::Client) {
    let server = wsh::test::serve(wsh::descriptor!(Puppet));
    let mut client = server.connect();
    assert_eq!(client.receive().unwrap(), "open");
    (server, client)
}

fn logged(server: &Server, message: &str) -> Vec<wsh::test::Line> {
    let lines = server.log().into_iter();
    lines.filter(|line| line.message == message).collect()
}

fn code(client: &mut wsh::test::Client) -> Option<u16> {
    client.closed().map(|close| close.code)
}

#[test]
fn text_comes_as_text_and_binary_as_binary() {
    let (_server, mut client) = puppet();

    client.send("grüße");
    client.send(b"\0\xff");
    client.send("");

    assert_eq!(client.receive().unwrap(), MessageBuf::Text("grüße".into()));
    let binary = MessageBuf::Binary(b"\0\xff".to_vec());
    assert_eq!(client.receive().unwrap(), binary);
    assert_eq!(client.receive().unwrap(), "");
    assert_eq!(client.receive(), None);
    assert_eq!(code(&mut client), None);
}

#[test]
fn a_panic_in_any_callback_closes_its_own_session_with_1011() {
    for fault in ["panic", "bomb", "fail"] {
        for callback in ["message", "ping", "pong", "drain", "timer", "closing"] {
            let (server, mut client) = puppet();
            let mut other = server.connect();
            client.send(format!("{fault} {callback}"));

            match callback {
                "message" => client.send("x"),
                "ping" => client.ping(b""),
                "pong" => client.send("ping x"),
                "timer" => {
                    client.send("timer 1 10");
                    client.advance(Duration::from_millis(10));
                }
                "drain" => {
                    client.send("watermark");
                    client.stall();
                    client.send("fill 200");
                    client.resume();
                }
                _ => client.close(1000, ""),
            }

            let what = format!("{fault} in {callback}");
            assert_eq!(code(&mut client), Some(1011), "{what}");
            let told = logged(&server, "closed");
            assert_eq!(told.len(), 1, "{what}");
            let wanted = if callback == "closing" {
                "1000"
            } else {
                "1011"
            };
            assert_eq!(told[0].field("code"), Some(wanted), "{what}");
            let wanted = match fault {
                "fail" => format!("{callback} fails"),
                _ => format!("`{callback}` panicked"),
            };
            assert_eq!(logged(&server, &wanted).len(), 1, "{what}");
            other.send("still here");
            assert_eq!(other.receive().unwrap(), "open");
            assert_eq!(other.receive().unwrap(), "still here");
        }
    }
}

#[test]
fn a_panic_in_on_close_harms_nobody() {
    for fault in ["panic", "bomb", "fail"] {
        let (server, mut client) = puppet();
        client.send(format!("{fault} close"));

        client.close(1000, "");

        assert_eq!(code(&mut client), Some(1000));
        let mut next = server.connect();
        assert_eq!(next.receive().unwrap(), "open");
    }
}

#[test]
fn either_side_closes_and_the_handler_is_told_once() {
    let (server, mut client) = puppet();
    client.close(4000, "bye");
    let mut second = server.connect();
    second.send("close 4001");
    let mut third = server.connect();
    third.close(3000, "");
    let mut fourth = server.connect();
    fourth.close(1005, "");
    let mut fifth = server.connect();
    fifth.lose();

    let seen = |client: &mut wsh::test::Client| client.closed().unwrap().to_string();
    assert_eq!(seen(&mut client), "4000");
    assert_eq!(seen(&mut second), "4001 done");
    assert_eq!(seen(&mut third), "3001 other");
    assert_eq!(seen(&mut fourth), "1005");
    assert_eq!(seen(&mut fifth), "1006");
    let told = logged(&server, "closed");
    let told: Vec<_> = told
        .iter()
        .map(|line| line.field("code").unwrap())
        .collect();
    assert_eq!(told, ["4000", "4001", "3000", "1005", "1006"]);
    assert_eq!(logged(&server, "closed")[0].field("reason"), Some("bye"));
}

#[test]
fn codes_that_may_not_be_sent_are_refused_and_logged() {
    let (server, mut client) = puppet();

    for code in [999, 1004, 1005, 1006, 1015, 2999, 5000] {
        client.send(format!("close {code}"));
    }
    client.send("still here");

    assert_eq!(client.receive().unwrap(), "still here");
    let refused = logged(&server, "call refused");
    assert_eq!(refused.len(), 7);
    assert_eq!(refused[0].field("call"), Some("close"));
    assert_eq!(
        refused[0].field("error"),
        Some("an argument breaks its rule")
    );
}

#[test]
fn nothing_is_sent_behind_a_close() {
    #[derive(Default)]
    struct Talker;
    impl Session for Talker {
        fn on_message(&mut self, conn: &mut Conn, _: Message) {
            assert!(conn.send("before").is_ok());
            assert!(conn.close(1000, ""));
            assert_eq!(conn.send("after").result(), Err(Refused::Gone));
            assert!(!conn.close(1001, ""));
            assert!(!conn.ping(b""));
            assert!(!conn.timer(1, Duration::ZERO));
            let written = conn.send_with(Kind::Text, 8, |out| {
                use std::fmt::Write;
                out.write_str("after")
            });
            assert_eq!(written.result(), Err(Refused::Gone));
        }
    }
    let mut client = wsh::test::connect(wsh::descriptor!(Talker));

    client.send("now");
    client.send("late");

    assert_eq!(client.receive().unwrap(), "before");
    assert_eq!(client.receive(), None);
    assert_eq!(code(&mut client), Some(1000));
}

#[test]
fn an_abort_sends_no_close() {
    let (_server, mut client) = puppet();

    client.send("abort");

    assert_eq!(code(&mut client), Some(1006));
}

#[test]
fn pings_are_answered_by_the_server_and_by_the_client() {
    let (server, mut client) = puppet();

    client.ping(b"a");
    client.send("ping b");

    assert_eq!(client.receive_pong().unwrap(), b"a");
    assert_eq!(client.receive().unwrap(), "ping a");
    assert_eq!(client.receive_ping().unwrap(), b"b");
    assert_eq!(client.receive().unwrap(), "pong b");
    client.send("long ping");
    client.send("ping x");
    assert!(logged(&server, "call refused").is_empty());
}

#[test]
fn timers_run_out_in_their_order_and_may_be_replaced_and_cancelled() {
    let (_server, mut client) = puppet();
    for order in [
        "timer 1 300",
        "timer 2 100",
        "timer 3 200",
        "timer 1 50",
        "cancel 3",
    ] {
        client.send(order);
    }

    client.advance(Duration::from_millis(49));
    assert_eq!(client.receive(), None);
    client.advance(Duration::from_millis(1));
    assert_eq!(client.receive().unwrap(), "timer 1");
    client.advance(Duration::from_secs(1));

    assert_eq!(client.receive().unwrap(), "timer 2");
    assert_eq!(client.receive(), None);
}

#[test]
fn a_topic_reaches_its_subscribers_until_they_leave() {
    let server = wsh::test::serve(wsh::descriptor!(Puppet));
    let [mut ann, mut ben, mut cat] = [(); 3].map(|()| server.connect());
    for client in [&mut ann, &mut ben, &mut cat] {
        assert_eq!(client.receive().unwrap(), "open");
        client.send("join news");
    }
    cat.send("leave news");

    ann.send("publish news");

    assert_eq!(ann.receive().unwrap(), "2");
    assert_eq!(ann.receive().unwrap(), "news");
    assert_eq!(ben.receive().unwrap(), "news");
    assert_eq!(cat.receive(), None);
    ben.close(1000, "");
    ann.send("publish news");
    assert_eq!(ann.receive().unwrap(), "1");
}

#[test]
fn a_paused_session_hears_nothing_until_it_resumes() {
    let (_server, mut client) = puppet();

    client.send("pause");
    client.send("held");
    client.close(1000, "");
    assert_eq!(client.receive(), None);
    assert_eq!(code(&mut client), None);
    client.advance(Duration::from_secs(1));

    assert_eq!(client.receive().unwrap(), "timer 99");
    assert_eq!(client.receive().unwrap(), "held");
    assert_eq!(code(&mut client), Some(1000));
}

#[test]
fn a_slow_client_is_noticed_and_past_the_limit_let_go() {
    let (server, mut client) = puppet();
    client.send("watermark");
    client.stall();

    client.send("fill 200");
    client.resume();
    assert_eq!(client.receive().unwrap().as_bytes().len(), 200);
    assert_eq!(client.receive().unwrap(), "drain");
    client.stall();
    for _ in 0..3 {
        client.send("fill 500000");
    }
    client.send("not read: the queue is over half");
    client.resume();

    let filled = logged(&server, "filled");
    let answers: Vec<_> = filled
        .iter()
        .map(|line| line.field("answer").unwrap())
        .collect();
    assert_eq!(answers[..3], ["Ok(204)", "Ok(500010)", "Ok(1000020)"]);
    assert_eq!(code(&mut client), None);
    // One callback cannot wait for the client.
    client.stall();
    client.send("fill 1000000");
    client.send("x");
    client.resume();
    assert_eq!(code(&mut client), None);
}

#[test]
fn one_message_may_be_larger_than_the_limit_but_not_two() {
    #[derive(Default)]
    struct Flood;
    impl Session for Flood {
        fn on_message(&mut self, conn: &mut Conn, _: Message) {
            assert_eq!(conn.send(vec![0; 2_000_000]).result(), Ok(2_000_010));
            assert_eq!(conn.buffered(), 2_000_010);
            assert_eq!(conn.send("more").result(), Err(Refused::TooBig));
            assert_eq!(conn.send("more").result(), Err(Refused::Gone));
        }
    }
    let mut client = wsh::test::connect(wsh::descriptor!(Flood));

    client.stall();
    client.send("now");
    client.resume();

    assert_eq!(client.receive().unwrap().as_bytes().len(), 2_000_000);
    assert_eq!(code(&mut client), Some(1008));
}

#[test]
fn what_is_written_in_place_is_sent_whole_or_not_at_all() {
    #[derive(Default)]
    struct Plotter;
    impl Session for Plotter {
        fn on_message(&mut self, conn: &mut Conn, _: Message) {
            use std::fmt::Write;
            let fits = conn.send_with(Kind::Text, 3, |out| write!(out, "{},{}", 1, 2));
            assert_eq!(fits.result(), Ok(5));
            let over = conn.send_with(Kind::Text, 3, |out| write!(out, "{},{}", 1, 23));
            assert_eq!(over.result(), Err(Refused::TooBig));
            let broken = conn.send_with(Kind::Text, 3, |out| {
                std::io::Write::write_all(out, b"\xff").map_err(|_| std::fmt::Error)
            });
            assert_eq!(broken.result(), Err(Refused::Invalid));
            let nothing = conn.send_with(Kind::Binary, 0, |_| Ok(()));
            assert!(nothing.is_ok());
        }
    }
    let mut client = wsh::test::connect(wsh::descriptor!(Plotter));

    client.send("now");

    assert_eq!(client.receive().unwrap(), "1,2");
    assert_eq!(client.receive().unwrap(), MessageBuf::Binary(Vec::new()));
    assert_eq!(client.receive(), None);
}

#[test]
fn a_thread_that_a_callback_lends_its_session_to_sends_by_id() {
    #[derive(Default)]
    struct Lender;
    impl Session for Lender {
        fn on_message(&mut self, conn: &mut Conn, message: Message) {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    assert!(conn.send(message).is_ok());
                    // There is no such call by id.
                    assert!(!conn.ping(b"x"));
                    if message == "bye" {
                        assert!(conn.close(1000, "by id"));
                    }
                });
            });
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Lender));
    let mut client = server.connect();

    client.send("hello");
    client.send("bye");

    assert_eq!(client.receive().unwrap(), "hello");
    assert_eq!(client.receive().unwrap(), "bye");
    assert_eq!(client.closed().unwrap().to_string(), "1000 by id");
    assert_eq!(client.receive_ping(), None);
}

/// Hands its peers to the test.
struct Exchange(std::sync::Mutex<mpsc::Sender<Peer>>);
struct Traded;

impl Handler for Exchange {
    type Session = Traded;

    fn new(_: Config) -> Result<Self> {
        Err("made by the test".into())
    }
    fn open(&self, conn: &mut Conn, _: &Request) -> Traded {
        let _ = self.0.lock().unwrap().send(conn.peer());
        Traded
    }
}

impl Session for Traded {
    fn on_message(&mut self, conn: &mut Conn, message: Message) {
        let peer = conn.peer();
        let message = message.to_buf();
        let job = move || {
            let _ = peer.send(message);
        };
        wsh::spawn(job).unwrap();
    }
}

#[test]
fn a_handler_that_cannot_be_made_is_not_loaded_and_says_why() {
    let error = wsh::test::load(wsh::descriptor!(Exchange), "{}").unwrap_err();
    assert_eq!(error, "made by the test");
}

#[test]
fn a_peer_is_reached_from_threads_until_it_is_gone() {
    thread_local!(static PEERS: std::cell::RefCell<Vec<Peer>> = const { std::cell::RefCell::new(Vec::new()) });
    #[derive(Default)]
    struct Open;
    impl Session for Open {
        fn on_open(&mut self, conn: &mut Conn) {
            PEERS.with_borrow_mut(|peers| peers.push(conn.peer()));
        }
        fn on_message(&mut self, conn: &mut Conn, message: Message) {
            let (peer, message) = (conn.peer(), message.to_buf());
            wsh::spawn(move || {
                peer.send(message).unwrap();
                peer.close(4000, "from a thread").unwrap();
            })
            .unwrap();
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Open));
    let mut client = server.connect();
    let peer = PEERS.take().remove(0);

    assert_eq!(peer.id(), client.id());
    assert_eq!(peer.send("direct"), Ok(8));
    assert_eq!(peer.close(1005, ""), Err(Refused::Invalid));
    assert_eq!(client.receive().unwrap(), "direct");
    client.send("around");

    assert_eq!(client.receive().unwrap(), "around");
    assert_eq!(client.receive(), None);
    assert_eq!(client.closed().unwrap().code, 4000);
    assert_eq!(peer.send("late"), Err(Refused::Gone));
    drop((client, server));
    assert_eq!(peer.send("later"), Err(Refused::Gone));
}

#[test]
fn an_inbox_that_is_full_takes_no_more() {
    thread_local!(static PEER: std::cell::RefCell<Option<Peer>> = const { std::cell::RefCell::new(None) });
    #[derive(Default)]
    struct Open;
    impl Session for Open {
        fn on_open(&mut self, conn: &mut Conn) {
            PEER.set(Some(conn.peer()));
        }
        fn on_message(&mut self, _: &mut Conn, _: Message) {}
    }
    let mut client = wsh::test::connect(wsh::descriptor!(Open));
    let peer = PEER.take().unwrap();

    assert_eq!(peer.send(vec![0; 1_000_000]), Ok(1_000_010));
    assert_eq!(peer.send(vec![0; 100_000]), Err(Refused::Full));
    assert!(client.receive().is_some());
    assert!(peer.send(vec![0; 100_000]).is_ok());
}

/// Lets in who has a token, at once or later.
struct Door;
struct Guest;
struct Name(String);

impl Handler for Door {
    type Session = Guest;

    fn new(_: Config) -> Result<Self> {
        Ok(Door)
    }

    fn handshake(&self, request: &Request, response: &mut Response) -> Handshake {
        assert_eq!(response.header("Connection", "x"), Err(Refused::Invalid));
        assert_eq!(response.header("X-A", "b\r\nX-B: c"), Err(Refused::Invalid));
        response.header("X-Door", request.path()).unwrap();
        let name = request.query("name").unwrap_or_default().to_owned();
        match request.cookie("token").unwrap_or_default() {
            "now" => {
                request.attach(Name(name));
                response.choose_protocol(request, &["chat.v2", "chat.v1"])
            }
            "later" => {
                request.attach(Name(name));
                let wait = Flag::default();
                let answer = wait.clone();
                wsh::spawn(move || answer.set()).unwrap();
                Handshake::later(async move {
                    wait.await;
                    Handshake::accept()
                })
            }
            "never" => {
                request.attach(DropCounter);
                Handshake::later(std::future::pending())
            }
            "abort" => Handshake::abort(),
            "panic" => panic!("as asked"),
            "nonsense" => Handshake::reject(200, ""),
            "fail" => {
                wsh::fail("cannot ask");
                Handshake::accept()
            }
            _ => Handshake::reject(403, "no token"),
        }
    }

    fn open(&self, conn: &mut Conn, request: &Request) -> Guest {
        let name = &conn
            .attached::<Name>()
            .expect("the handshake attached it")
            .0;
        let text = format!("{name} in {}", request.param("room").unwrap_or("no room"));
        conn.send(text);
        assert!(conn.attached::<String>().is_none());
        Guest
    }
}

impl Session for Guest {
    fn on_message(&mut self, _: &mut Conn, _: Message) {}
}

/// Something to wait for.
#[derive(Default, Clone)]
struct Flag(Arc<std::sync::Mutex<(bool, Option<std::task::Waker>)>>);

impl Flag {
    fn set(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 = true;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

impl Future for Flag {
    type Output = ();

    fn poll(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<()> {
        let mut state = self.0.lock().unwrap();
        if state.0 {
            return std::task::Poll::Ready(());
        }
        state.1 = Some(cx.waker().clone());
        std::task::Poll::Pending
    }
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);
struct DropCounter;

impl Drop for DropCounter {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_handshake_lets_in_with_what_it_attached_and_chose() {
    let server = wsh::test::serve(wsh::descriptor!(Door));
    let request = server
        .request("/rooms/bl%75e?name=ann+b")
        .cookie("token", "now");
    let request = request
        .protocol("chat.v1")
        .protocol("chat.v0")
        .param("room", "blue");

    let mut client = request.connect();

    assert_eq!(client.receive().unwrap(), "ann b in blue");
    assert_eq!(client.protocol(), "chat.v1");
    assert_eq!(client.header("x-door"), Some(&b"/rooms/blue"[..]));
}

#[test]
fn a_late_handshake_keeps_what_was_said_at_first() {
    let server = wsh::test::serve(wsh::descriptor!(Door));
    let request = server.request("/late?name=ben").cookie("token", "later");

    let mut client = request.connect();

    assert_eq!(client.receive().unwrap(), "ben in no room");
    assert_eq!(client.header("X-Door"), Some(&b"/late"[..]));
}

#[test]
fn a_handshake_refuses_in_each_way() {
    let server = wsh::test::serve(wsh::descriptor!(Door));
    let refusal = |token| {
        let request = server.request("/").cookie("token", token);
        request.try_connect().unwrap_err()
    };

    assert_eq!(refusal("none").to_string(), "403 no token");
    assert_eq!(
        refusal("none").headers,
        [("X-Door".to_owned(), b"/".to_vec())]
    );
    assert_eq!(refusal("abort").status, 0);
    assert_eq!(refusal("panic").status, 500);
    assert_eq!(refusal("nonsense").status, 500);
    assert_eq!(refusal("fail").status, 500);
    assert_eq!(logged(&server, "cannot ask").len(), 1);
    assert_eq!(logged(&server, "`handshake` panicked").len(), 1);
}

#[test]
fn a_handshake_whose_client_goes_is_abandoned_with_what_it_attached() {
    let server = wsh::test::serve(wsh::descriptor!(Door));
    let mut opening = server.request("/").cookie("token", "never").begin();

    assert!(opening.is_pending());
    assert_eq!(DROPPED.load(Relaxed), 0);
    drop(opening);

    assert_eq!(DROPPED.load(Relaxed), 1);
    let never = server.request("/").cookie("token", "never");
    assert_eq!(never.try_connect().unwrap_err().status, 408);
    assert_eq!(DROPPED.load(Relaxed), 2);
}

#[test]
fn a_failed_open_closes_with_1011_and_leaves_no_session() {
    static LIVING: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Default for Counted {
        fn default() -> Self {
            LIVING.fetch_add(1, Relaxed);
            Counted
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            LIVING.fetch_sub(1, Relaxed);
        }
    }
    impl Session for Counted {
        fn on_open(&mut self, conn: &mut Conn) {
            conn.send("hello");
            wsh::fail("no room");
        }
        fn on_message(&mut self, _: &mut Conn, _: Message) {}
        fn on_close(&mut self, _: Close) {
            unreachable!("there is no session");
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Counted));

    let mut client = server.connect();

    assert_eq!(client.receive().unwrap(), "hello");
    assert_eq!(code(&mut client), Some(1011));
    assert_eq!(LIVING.load(Relaxed), 1, "the handler itself is left");
    drop((client, server));
    assert_eq!(LIVING.load(Relaxed), 0);
}

#[test]
fn a_session_that_panics_on_drop_harms_nobody() {
    struct Grenade;
    struct Pin;
    impl Handler for Pin {
        type Session = Grenade;
        fn new(_: Config) -> Result<Self> {
            Ok(Pin)
        }
        fn open(&self, _: &mut Conn, _: &Request) -> Grenade {
            Grenade
        }
    }
    impl Session for Grenade {
        fn on_message(&mut self, conn: &mut Conn, message: Message) {
            conn.send(message);
        }
    }
    impl Drop for Grenade {
        fn drop(&mut self) {
            panic_any(Bomb);
        }
    }
    impl Drop for Pin {
        fn drop(&mut self) {
            panic_any(Bomb);
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Pin));
    let mut first = server.connect();

    first.close(1000, "");
    assert_eq!(code(&mut first), Some(1000));
    let mut second = server.connect();
    second.send("x");

    assert_eq!(second.receive().unwrap(), "x");
}

/// Counts, across generations.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Counter {
    seen: u64,
}

impl Session for Counter {
    const SCHEMA: std::ops::RangeInclusive<u32> = 1..=2;

    fn on_message(&mut self, conn: &mut Conn, message: Message) {
        self.seen += 1;
        if message == "timer" {
            conn.timer(7, Duration::from_secs(1));
        }
        let generation = if conn.is_restored() { "moved" } else { "first" };
        conn.send(format!("{} {generation}", self.seen));
    }
    fn on_timer(&mut self, conn: &mut Conn, token: u64) {
        conn.send(format!("timer {token}"));
    }
    fn on_close(&mut self, close: Close) {
        wsh::info!(code = close.code, "closed");
    }
    fn snapshot(&self) -> Option<State> {
        (self.seen != 13).then(|| State::json(self))?
    }
    fn restore(state: &State) -> Result<Self> {
        assert_eq!(state.schema(), 2);
        let counter: Counter = state.parse()?;
        if counter.seen == 3 {
            return Err("three is not to be had".into());
        }
        Ok(counter)
    }
}

#[test]
fn a_session_moves_to_a_newer_generation_with_its_timers() {
    let server = wsh::test::serve(wsh::descriptor!(Counter));
    let mut client = server.connect();
    client.send("timer");
    assert_eq!(client.receive().unwrap(), "1 first");

    assert!(client.migrate());
    assert_eq!(client.generation(), Some(2));
    client.send("x");
    client.advance(Duration::from_secs(1));

    assert_eq!(client.receive().unwrap(), "2 moved");
    assert_eq!(client.receive().unwrap(), "timer 7");
    assert!(logged(&server, "closed").is_empty());
}

#[test]
fn a_session_that_cannot_be_restored_stays() {
    let server = wsh::test::serve(wsh::descriptor!(Counter));
    let mut client = server.connect();
    for _ in 0..3 {
        client.send("x");
    }

    assert!(!client.migrate());
    client.send("x");

    assert_eq!(client.generation(), Some(1));
    let answers: Vec<String> =
        std::iter::from_fn(|| client.try_receive().map(|it| it.to_string())).collect();
    assert_eq!(answers, ["1 first", "2 first", "3 first", "4 first"]);
    assert_eq!(logged(&server, "three is not to be had").len(), 1);
}

#[test]
fn a_session_without_a_snapshot_for_now_moves_after_its_next_callback() {
    let server = wsh::test::serve(wsh::descriptor!(Counter));
    let mut client = server.connect();
    for _ in 0..13 {
        client.send("x");
    }

    assert!(!client.migrate());
    client.send("x");

    assert_eq!(client.generation(), Some(2));
    let last = std::iter::from_fn(|| client.try_receive()).last();
    assert_eq!(last.unwrap(), "14 first");
}

#[test]
fn a_session_without_anything_in_it_moves_and_others_stay() {
    #[derive(Default)]
    struct Empty;
    impl Session for Empty {
        fn on_message(&mut self, conn: &mut Conn, message: Message) {
            conn.send(message);
        }
    }
    let mut empty = wsh::test::connect(wsh::descriptor!(Empty));
    let (_server, mut puppet) = puppet();

    assert!(empty.migrate());
    assert!(!puppet.migrate());

    empty.send("x");
    puppet.send("x");
    assert_eq!(empty.receive().unwrap(), "x");
    assert_eq!(puppet.receive().unwrap(), "x");
}

#[test]
fn a_reload_tells_each_generation_when_it_serves() {
    struct Told;
    impl Handler for Told {
        type Session = Guest;
        fn new(config: Config) -> Result<Self> {
            wsh::info!(generation = config.generation(), "made");
            Ok(Told)
        }
        fn open(&self, _: &mut Conn, _: &Request) -> Guest {
            Guest
        }
        fn serving(&self, on: bool) {
            wsh::info!("serving {on}");
        }
        fn self_test(&self) -> Result {
            wsh::info!("tested");
            Ok(())
        }
    }
    impl Drop for Told {
        fn drop(&mut self) {
            wsh::info!("dropped");
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Told));
    let client = server.connect();

    server.reload(wsh::descriptor!(Told)).unwrap();
    drop(client);
    let error = server.reload(wsh::descriptor!(Exchange)).unwrap_err();

    assert_eq!(error, "made by the test");
    let told: Vec<String> = server.log().into_iter().map(|line| line.message).collect();
    let wanted = [
        "made",
        "tested",
        "serving true",
        "made",
        "tested",
        "serving true",
        "serving false",
        "dropped",
    ];
    assert_eq!(told, wanted);
}

#[test]
fn a_self_test_that_fails_keeps_the_handler_out() {
    struct Unfit;
    impl Handler for Unfit {
        type Session = Guest;
        fn new(_: Config) -> Result<Self> {
            Ok(Unfit)
        }
        fn open(&self, _: &mut Conn, _: &Request) -> Guest {
            Guest
        }
        fn self_test(&self) -> Result {
            Err("no database".into())
        }
    }
    let error = wsh::test::load(wsh::descriptor!(Unfit), "{}").unwrap_err();
    assert_eq!(error, "no database");
}
