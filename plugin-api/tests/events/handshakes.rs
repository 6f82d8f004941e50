//! A handler's answers to opening handshakes.

use super::*;

/// Accepts clients with a token, at once or later.
struct Door;
pub(super) struct Guest;
struct Name(String);

impl Handler for Door {
    type Session = Guest;

    fn new(_: Config) -> Result<Self> {
        Ok(Door)
    }

    fn handshake(&self, request: &Request, response: &mut Response) -> Result<Handshake> {
        for (name, value, argument) in
            [("Connection", "x", "name"), ("X-A", "b\r\nX-B: c", "value")]
        {
            match response.header(name, value) {
                Err(Refused::Invalid(rule)) => assert_eq!(rule.argument(), argument),
                answer => panic!("`{name}`: {answer:?}"),
            }
        }
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
                wsh::spawn(move |_| answer.set()).unwrap();
                Ok(Handshake::later(async move {
                    wait.await;
                    Ok(Handshake::accept())
                }))
            }
            "never" => {
                request.attach(DropCounter);
                Ok(Handshake::later(std::future::pending()))
            }
            "abort" => Ok(Handshake::abort()),
            "panic" => panic!("as asked"),
            "nonsense" => Ok(Handshake::reject(200, "")),
            "fail" => Err("cannot ask".into()),
            _ => Ok(Handshake::reject(403, "no token")),
        }
    }

    fn open(&self, conn: &mut Conn, request: &Request) -> Result<Guest> {
        let name = &conn
            .attached::<Name>()
            .expect("the handshake attached it")
            .0;
        let text = format!("{name} in {}", request.param("room").unwrap_or("no room"));
        conn.send(text)?;
        assert!(conn.attached::<String>().is_none());
        Ok(Guest)
    }
}

impl Session for Guest {
    fn on_message(&mut self, _: &mut Conn, _: Message) -> Result {
        Ok(())
    }
}

/// A flag that a handshake waits for.
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

/// Answers who the client is.
struct Porter;

impl Handler for Porter {
    type Session = Guest;

    fn new(_: Config) -> Result<Self> {
        Ok(Porter)
    }

    fn handshake(&self, request: &Request, response: &mut Response) -> Result<Handshake> {
        let addresses = (request.remote_addr(), request.client_addr());
        response.header("X-Addresses", format!("{addresses:?}"))?;
        response.header("X-Client", request.client())?;
        Ok(Handshake::accept())
    }

    fn open(&self, _: &mut Conn, _: &Request) -> Result<Guest> {
        Ok(Guest)
    }
}

#[test]
fn the_client_of_a_unix_socket_has_a_process_and_no_address() {
    let server = wsh::test::serve(wsh::descriptor!(Porter));
    let client = server.request("/").remote_addr("unix:4711/1000").connect();
    assert_eq!(client.header("X-Addresses"), Some(&b"(None, None)"[..]));
    assert_eq!(client.header("X-Client"), Some(&b"unix:4711/1000"[..]));
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
    assert_eq!(never.try_connect().unwrap_err().status, 503);
    assert_eq!(DROPPED.load(Relaxed), 2);
}

/// Answers after a while, as the query says.
struct Desk;
#[derive(Default)]
struct Found;

impl Handler for Desk {
    type Session = Found;

    fn new(_: Config) -> Result<Self> {
        Ok(Desk)
    }

    fn handshake(&self, request: &Request, response: &mut Response) -> Result<Handshake> {
        response.header("X-Early", "1")?;
        request.attach(Name("nobody yet".into()));
        let (sleep, answer) = (
            request.sleep(Duration::from_secs(1)),
            request.query("answer").unwrap_or_default().to_owned(),
        );
        Ok(Handshake::later(async move {
            sleep.await;
            let accept = Handshake::accept();
            Ok(match &*answer {
                "all" => accept
                    .header("Set-Cookie", "seen=1")
                    .header("Set-Cookie", "again=1")
                    .choose_protocol(&["v3", "v2", "v1"])
                    .forbid_compression()
                    .attach(Name("ann".into())),
                "none in common" => accept.choose_protocol(&["v9"]),
                "exact" => accept.protocol("v1"),
                "later still" => Handshake::later(async { Ok(Handshake::accept().protocol("v1")) })
                    .header("X-Between", "2"),
                "unknown" => accept.protocol("v9"),
                "split" => accept.header("X-A", "b\r\nX-B: c"),
                "ours" => accept.header("Upgrade", "h2c"),
                "long" => accept.header("X-A", "a".repeat(20_000)),
                _ => Handshake::reject(401, "who?").header("WWW-Authenticate", "Bearer"),
            })
        }))
    }

    fn open(&self, conn: &mut Conn, _: &Request) -> Result<Found> {
        conn.send(conn.attached::<Name>().map_or("nobody", |name| &name.0))?;
        Ok(Found)
    }
}

impl Session for Found {
    fn on_message(&mut self, _: &mut Conn, _: Message) -> Result {
        Ok(())
    }
}

fn ask_desk(server: &Server, answer: &str) -> Result<wsh::test::Client, wsh::test::Refusal> {
    let request = server.request(&format!("/?answer={answer}"));
    let mut opening = request.protocol("v1").protocol("v2").begin();
    assert!(opening.is_pending());
    server.advance(Duration::from_secs(1));
    opening.finish()
}

#[test]
fn a_late_handshake_sets_headers_and_the_subprotocol_by_what_it_found_out() {
    let server = wsh::test::serve(wsh::descriptor!(Desk));

    let mut client = ask_desk(&server, "all").unwrap();
    assert_eq!(client.protocol(), "v2");
    assert_eq!(client.header("X-Early"), Some(&b"1"[..]));
    assert_eq!(client.header("Set-Cookie"), Some(&b"seen=1"[..]));
    assert_eq!(client.receive().unwrap(), "ann");

    let mut client = ask_desk(&server, "exact").unwrap();
    assert_eq!(client.protocol(), "v1");
    assert_eq!(client.receive().unwrap(), "nobody yet");
    assert_eq!(ask_desk(&server, "none+in+common").unwrap().protocol(), "");

    let client = ask_desk(&server, "later+still").unwrap();
    assert_eq!(
        (client.protocol().as_str(), client.header("X-Between")),
        ("v1", Some(&b"2"[..]))
    );
}

#[test]
fn a_late_handshake_refuses_with_headers_too() {
    let server = wsh::test::serve(wsh::descriptor!(Desk));

    let refusal = ask_desk(&server, "no").unwrap_err();

    assert_eq!(refusal.to_string(), "401 who?");
    let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    let wanted = [
        header("X-Early", b"1"),
        header("WWW-Authenticate", b"Bearer"),
    ];
    assert_eq!(refusal.headers, wanted);
}

#[test]
fn a_late_answer_that_breaks_a_rule_is_a_500_and_a_line() {
    for (answer, why) in [
        (
            "unknown",
            "cannot answer the handshake so: `name` was not offered, wanted a subprotocol that the client offers",
        ),
        (
            "split",
            "cannot answer the handshake so: `value` contains a control character, wanted none but the tab",
        ),
        (
            "ours",
            "cannot answer the handshake so: `name` is a header of the handshake itself, wanted any other",
        ),
        (
            "long",
            "cannot answer the handshake so: `value` has 20000 bytes, wanted at most 16 KiB in all header lines",
        ),
    ] {
        let server = wsh::test::serve(wsh::descriptor!(Desk));

        assert_eq!(ask_desk(&server, answer).unwrap_err().status, 500);

        assert_eq!(logged(&server, why).len(), 1, "{:?}", server.log());
    }
}
