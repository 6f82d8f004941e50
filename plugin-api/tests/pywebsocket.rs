//! The handlers of PYWEBSOCKET.md, which shows each of them beside its form in Python.
//!
//! A test of the server compares both: what stands in the paper stands here, word by word.

use std::time::Duration;

use wsh::prelude::*;

/// How the session of this client ended, once it has no message left.
fn ended(client: &mut wsh::test::Client) -> String {
    assert_eq!(client.receive(), None);
    client.closed().expect("it has ended").to_string()
}

fn echo(conn: BlockingConn) -> Result {
    for message in &conn {
        let is_goodbye = message == "Goodbye";
        conn.send(message)?;
        if is_goodbye {
            break; // the end of the function closes with 1000
        }
    }
    Ok(())
}

#[test]
fn an_echo_sends_both_kinds_back_and_ends_after_goodbye() {
    let mut client = wsh::test::connect(wsh::descriptor!(blocking echo));

    client.send("hello");
    client.send(b"\x00\x01");
    client.send("Goodbye");

    assert_eq!(client.receive().unwrap(), "hello");
    assert_eq!(client.receive().unwrap().as_bytes(), b"\x00\x01");
    assert_eq!(client.receive().unwrap(), "Goodbye");
    assert_eq!(ended(&mut client), "1000");
}

fn check(request: &Request, response: &mut Response) -> Result<Handshake> {
    if request.cookie("token").is_none() {
        return Ok(Handshake::reject(401, "log in first\n"));
    }
    response.header("Set-Cookie", "seen=1; Max-Age=86400")?;
    Ok(Handshake::accept())
}

#[test]
fn a_handshake_refuses_with_its_own_status_and_adds_a_header_line() {
    let server = wsh::test::serve(wsh::descriptor!(blocking echo, handshake = check));

    let refusal = server.request("/echo").try_connect().unwrap_err();
    assert_eq!(
        (refusal.status, &*refusal.body),
        (401, &b"log in first\n"[..])
    );
    let client = server.request("/echo").cookie("token", "x").connect();
    let cookie = client.header("Set-Cookie");
    assert_eq!(cookie, Some(&b"seen=1; Max-Age=86400"[..]));
}

fn check_origin(request: &Request, _: &mut Response) -> Result<Handshake> {
    if request.origin() != Some("http://example.com") {
        return Ok(Handshake::reject(403, "pages of example.com only\n"));
    }
    let target = request.target().escape_ascii();
    wsh::info!("{} asks for {target}", request.client());
    Ok(Handshake::accept())
}

#[test]
fn a_handshake_judges_the_origin_and_logs_who_asks_for_what() {
    let handler = wsh::descriptor!(blocking echo, handshake = check_origin, origin = any);
    let server = wsh::test::serve(handler);
    let request = server.request("/echo?a=1").client_addr("192.0.2.1:4000");

    let page = request.header("Origin", "http://example.com");
    drop(page.connect());
    let refusal = server.request("/echo").try_connect().unwrap_err();

    assert_eq!(refusal.status, 403);
    let log: Vec<String> = server.log().into_iter().map(|line| line.message).collect();
    assert_eq!(log, ["192.0.2.1:4000 asks for /echo?a=1"]);
}

fn choose(request: &Request, response: &mut Response) -> Result<Handshake> {
    response.choose_protocol(request, &["tea.v2", "tea.v1"])
}

fn name_protocol(conn: BlockingConn) -> Result {
    conn.send(format!("we speak `{}`", conn.protocol()))?;
    Ok(())
}

#[test]
fn the_first_subprotocol_that_both_speak_is_chosen_or_none() {
    let server = wsh::test::serve(wsh::descriptor!(blocking name_protocol, handshake = choose));

    for (offer, chosen) in [(["tea.v1", "tea.v2"], "tea.v2"), (["milk", "rum"], "")] {
        let request = server.request("/tea").protocol(offer[0]).protocol(offer[1]);
        let mut client = request.connect();
        assert_eq!(client.protocol(), chosen);
        let told = client.receive().unwrap().to_string();
        assert_eq!(told, format!("we speak `{chosen}`"));
    }
}

struct User(String);

fn find_user(request: &Request, _: &mut Response) -> Result<Handshake> {
    let name = request.query("name").unwrap_or("stranger");
    request.attach(User(name.to_owned()));
    Ok(Handshake::accept())
}

fn greet(conn: BlockingConn, request: &Request) -> Result {
    let User(name) = conn.attached().ok_or("no user")?;
    let language = request.header("Accept-Language").unwrap_or("en");
    conn.send(format!("hello {name} at {}, in {language}", request.path()))?;
    Ok(())
}

#[test]
fn a_session_finds_what_its_handshake_left_and_has_the_request() {
    let server = wsh::test::serve(wsh::descriptor!(blocking greet, handshake = find_user));

    let ann = server
        .request("/tea?name=Ann")
        .header("Accept-Language", "de");

    assert_eq!(ann.connect().receive().unwrap(), "hello Ann at /tea, in de");
}

/// What the paper says of each attribute of `request`, in one line.
fn describe(conn: BlockingConn, request: &Request) -> Result {
    // Every line in its order, as `get_memorized_lines` has them.
    let own = request.headers().filter(|(name, _)| name.starts_with("X-"));
    let own = own.map(|(name, value)| format!("{name}={}", value.escape_ascii()));
    let told = [
        String::from_utf8_lossy(request.target()).into_owned(),
        request.path().to_owned(),
        request.query("name").unwrap_or_default().to_owned(),
        request.header("x-first").unwrap_or_default().to_owned(),
        request.cookie("b").unwrap_or_default().to_owned(),
        own.collect::<Vec<_>>().join(" "),
        request
            .remote_addr()
            .map_or(String::new(), |it| it.to_string()),
        request
            .client_addr()
            .map_or(String::new(), |it| it.to_string()),
        request.origin().unwrap_or_default().to_owned(),
        request.protocols().collect::<Vec<_>>().join(" "),
        request.is_tls().to_string(),
        conn.is_open().to_string(),
        conn.closed().is_none().to_string(),
    ];
    conn.send(told.join(", "))?;
    Ok(())
}

#[test]
fn each_attribute_of_the_request_is_there() {
    let server = wsh::test::serve(wsh::descriptor!(blocking describe));
    let request = server
        .request("/a%20b?name=Ann+B")
        .header("X-First", "1")
        .header("X-Other", "3")
        .header("X-First", "2")
        .header("Origin", "https://example.com")
        .header("Cookie", "a=1; b=2")
        .protocol("v2")
        .protocol("v1")
        .remote_addr("192.0.2.1:4000")
        .client_addr("192.0.2.2:5000");

    let told = request.connect().receive().unwrap().to_string();

    let expected = "/a%20b?name=Ann+B, /a b, Ann B, 1, 2, X-First=1 X-Other=3 X-First=2, 192.0.2.1:4000, \
                    192.0.2.2:5000, https://example.com, v2 v1, false, true, true";
    assert_eq!(told, expected);
}

fn answer_close(conn: BlockingConn) -> Result {
    while conn.recv().is_some() {}
    // The peer has closed, and has no answer yet. Without the next lines it is its own code.
    if conn.closed().is_some_and(|close| close.code == 3000) {
        conn.close(3001, "until tomorrow")?;
    }
    Ok(())
}

#[test]
fn a_close_of_the_peer_is_answered_with_its_code_or_another_one() {
    let server = wsh::test::serve(wsh::descriptor!(blocking answer_close));

    for (code, answer) in [(3000, "3001 until tomorrow"), (3005, "3005")] {
        let mut client = server.connect();
        client.close(code, "");
        assert_eq!(ended(&mut client), answer);
    }
}

fn send_all_kinds(conn: BlockingConn) -> Result {
    conn.send("text")?;
    conn.send(b"\x00\xff")?; // bytes make a binary message
    conn.send_part("in ", false)?;
    conn.send_part("parts", true)?;
    match conn.recv() {
        Some(message) if message.as_text().is_some() => conn.send("that was text")?,
        Some(message) => conn.send(format!("that was {} bytes", message.len()))?,
        None => wsh::info!("the peer has closed"),
    }
    Ok(())
}

#[test]
fn text_bytes_and_messages_in_parts_are_sent_and_told_apart() {
    let server = wsh::test::serve(wsh::descriptor!(blocking send_all_kinds));

    for (message, answer) in [
        (&b"\x01"[..], "that was 1 bytes"),
        (b"", "that was 0 bytes"),
    ] {
        let mut client = server.connect();
        assert_eq!(client.receive().unwrap(), "text");
        assert_eq!(client.receive().unwrap().as_bytes(), b"\x00\xff");
        assert_eq!(client.receive().unwrap(), "in parts");
        client.send(message);
        assert_eq!(client.receive().unwrap(), answer);
    }
    let mut client = server.connect();
    client.send("x");
    let all: Vec<_> = std::iter::from_fn(|| client.receive()).collect();
    assert_eq!(all.last().unwrap(), &"that was text");
}

fn close_for_lunch(conn: BlockingConn) -> Result {
    conn.close(4000, "lunch")?;
    while conn.recv().is_some() {} // waits for the peer's Close frame
    wsh::info!("the peer said {:?}", conn.closed());
    Ok(())
}

#[test]
fn a_function_closes_with_a_code_and_waits_for_the_answer() {
    let server = wsh::test::serve(wsh::descriptor!(blocking close_for_lunch));
    let mut client = server.connect();

    assert_eq!(ended(&mut client), "4000 lunch");
}

fn fail_as_asked(conn: BlockingConn) -> Result {
    let wish = conn.recv().ok_or("it said nothing")?;
    match wish.as_text() {
        // AbortedByUserException: the connection ends without a Close frame.
        Some("abort") => conn.abort()?,
        // A code of your own choice, and the sentence for the log.
        None => return Err(wsh::Error::from("bytes came").close_with(1003, "text only")),
        // Any other error: 1011, and the sentence for the log.
        Some(other) => return Err(format!("there is no `{other}`").into()),
    }
    Ok(())
}

#[test]
fn an_error_closes_with_its_code_and_an_abort_without_a_frame() {
    let server = wsh::test::serve(wsh::descriptor!(blocking fail_as_asked));

    for (wish, end) in [
        (Message::Text("abort"), "1006"),
        (Message::Binary(b"x"), "1003 text only"),
        (Message::Text("milk"), "1011"),
    ] {
        let mut client = server.connect();
        client.send(wish);
        assert_eq!(ended(&mut client), end);
    }
}

#[derive(Default)]
struct Heart;

impl Session for Heart {
    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        conn.ping(message.as_bytes())?; // at most 125 bytes
        Ok(())
    }
    fn on_ping(&mut self, conn: &mut Conn, data: &[u8]) -> Result {
        conn.send(format!("your Ping of {} bytes was answered", data.len()))?;
        Ok(())
    }
    fn on_pong(&mut self, conn: &mut Conn, data: &[u8]) -> Result {
        conn.send(format!("your Pong has {} bytes", data.len()))?;
        Ok(())
    }
}

#[test]
fn pings_and_pongs_are_heard_of() {
    let mut client = wsh::test::connect(wsh::descriptor!(Heart));

    client.ping(b"abc");
    client.send("hello");

    assert_eq!(
        client.receive().unwrap(),
        "your Ping of 3 bytes was answered"
    );
    assert_eq!(client.receive_pong().unwrap(), b"abc");
    assert_eq!(client.receive().unwrap(), "your Pong has 5 bytes");
}

fn tick(conn: BlockingConn) -> Result {
    let handle = conn.handle(); // for other threads
    wsh::spawn(move |stop| {
        while !stop.wait(Duration::from_millis(20)) {
            if handle.send("tick").is_err() {
                return; // the session is over
            }
        }
    })?;
    while let Ok(Some(message)) = conn.recv_timeout(Duration::from_secs(60)) {
        conn.send(message)?; // nothing is torn: each call sends a whole message
    }
    Ok(())
}

#[test]
fn a_thread_sends_beside_the_function_and_a_wait_has_an_end() {
    let mut client = wsh::test::connect(wsh::descriptor!(blocking tick));

    client.send("hello");

    let mut heard: Vec<String> = Vec::new();
    while !heard.iter().any(|it| it == "hello") || !heard.iter().any(|it| it == "tick") {
        let message = client.receive_within(Duration::from_secs(10));
        heard.push(message.expect("a message").to_string());
    }
}

fn chat(conn: BlockingConn) -> Result {
    conn.subscribe("everyone")?;
    for message in &conn {
        conn.publish("everyone", message)?; // to this session, too
    }
    Ok(()) // it leaves the topic, however it ends
}

#[test]
fn what_one_says_all_hear() {
    let server = wsh::test::serve(wsh::descriptor!(blocking chat));
    let (mut ann, mut ben) = (server.connect(), server.connect());
    // A function subscribes on its own thread. What comes back shows that it has.
    for client in [&mut ann, &mut ben] {
        client.send("here");
        assert_eq!(
            client.receive_within(Duration::from_secs(10)).unwrap(),
            "here"
        );
    }

    ann.send("hi");

    let hears = |client: &mut wsh::test::Client| {
        let mut all = std::iter::from_fn(|| client.receive_within(Duration::from_secs(10)));
        all.any(|message| message == "hi")
    };
    assert!(hears(&mut ann) && hears(&mut ben));
}

fn uncompressed(_: &Request, response: &mut Response) -> Result<Handshake> {
    response.forbid_compression()?; // permessage-deflate is not agreed on
    Ok(Handshake::accept())
}

fn send_uncompressed(conn: BlockingConn) -> Result {
    conn.send(Uncompressed("this message only"))?;
    Ok(())
}

#[test]
fn compression_is_refused_for_a_session_or_for_a_message() {
    let server = wsh::test::serve(wsh::descriptor!(
        blocking send_uncompressed,
        handshake = uncompressed
    ));

    let mut client = server.connect();

    assert_eq!(client.receive().unwrap(), "this message only");
}

fn break_frames(conn: BlockingConn) -> Result {
    wsh::raw::write(&conn, b"\x88\x02\x03\xed")?; // a Close frame with 1005, which none may carry
    conn.abort()?;
    Ok(())
}

fn break_handshake(_: &Request, response: &mut Response) -> Result<Handshake> {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"; // no accept key
    wsh::raw::Answer::close(answer).give(response)
}

#[test]
fn frames_and_answers_are_written_by_hand() {
    let server = wsh::test::load_raw(wsh::descriptor!(blocking break_frames), "{}").unwrap();
    let mut client = server.connect();
    assert_eq!(client.receive_raw().unwrap(), b"\x88\x02\x03\xed");

    let broken = wsh::descriptor!(blocking break_frames, handshake = break_handshake);
    let server = wsh::test::load_raw(broken, "{}").unwrap();
    let refusal = server.request("/").try_connect().unwrap_err();
    assert_eq!(refusal.status, 0);
    assert!(refusal.body.ends_with(b"Upgrade: websocket\r\n\r\n"));
}
