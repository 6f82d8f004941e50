//! `wsh::raw` in every style, without a server.

use wsh::prelude::*;
use wsh::raw::{self, Answer};

#[derive(Default)]
struct Session_;

impl Handler for Broken {
    type Session = Session_;

    fn new(_: Config) -> Result<Self> {
        Ok(Broken)
    }

    fn handshake(&self, request: &Request, response: &mut Response) -> Result<Handshake> {
        match request.query("answer") {
            Some("close") => Answer::close("bye").linger(8).give(response),
            Some("before") => Answer::before("first").give(response),
            Some("open") => {
                let _ = response.header("X-Lost", "1");
                let key = raw::accept_key(response).unwrap_or_else(|refused| refused.to_string());
                Answer::open(key).give(response)
            }
            Some("lingers") => Answer::open("").linger(1).give(response),
            _ => Ok(Handshake::accept()),
        }
    }

    fn open(&self, _: &mut Conn, _: &Request) -> Result<Session_> {
        Ok(Session_)
    }
}

struct Broken;

impl Session for Session_ {
    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        let written = if message == "by id" {
            raw::write(&conn.handle(), b"by id")
        } else {
            raw::write(conn, message.as_bytes())
        };
        if let Err(refused) = written {
            conn.send(refused.to_string())?;
        }
        Ok(())
    }
}

async fn asynchronous(conn: &mut AsyncConn) -> Result {
    while let Some(message) = conn.recv().await {
        raw::write(conn, message.as_bytes())?;
    }
    Ok(())
}

fn blocking(conn: BlockingConn) -> Result {
    for message in &conn {
        raw::write(&conn, message.as_bytes())?;
    }
    Ok(())
}

#[test]
fn every_style_writes_past_the_framing() {
    for handler in [
        wsh::descriptor!(Broken),
        wsh::descriptor!(async asynchronous),
        wsh::descriptor!(blocking blocking),
    ] {
        let server = wsh::test::load_raw(handler, "{}").expect("it is loaded");
        let mut client = server.connect();
        client.send("\u{1}\u{2}");
        assert_eq!(client.receive_raw().as_deref(), Some(&b"\x01\x02"[..]));
        client.send("by id");
        assert_eq!(client.receive_raw().as_deref(), Some(&b"by id"[..]));
        assert_eq!(client.try_receive(), None);
    }
}

#[test]
fn an_answer_closes_comes_first_or_stands_for_the_101() {
    let server = wsh::test::load_raw(wsh::descriptor!(Broken), "{}").expect("it is loaded");

    let refusal = server.request("/?answer=close").try_connect().unwrap_err();
    assert_eq!((refusal.status, &*refusal.body), (0, &b"bye"[..]));
    let client = server.request("/?answer=before").connect();
    assert_eq!(client.raw_answer(), Some(&b"first"[..]));
    let mut client = server.request("/?answer=open").connect();
    assert_eq!(
        client.raw_answer(),
        Some(&b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="[..])
    );
    assert_eq!(client.header("X-Lost"), None);
    client.send("x");
    assert_eq!(client.receive_raw().as_deref(), Some(&b"x"[..]));
    let refusal = server
        .request("/?answer=lingers")
        .try_connect()
        .unwrap_err();
    assert_eq!(refusal.status, 500);
}

#[test]
fn without_raw_in_its_table_a_handler_writes_nothing_and_is_told_why() {
    let server = wsh::test::serve(wsh::descriptor!(Broken));

    let mut client = server.connect();
    client.send("x");
    assert_eq!(
        client.receive().unwrap(),
        "`call` is not allowed to this handler, wanted `raw = true` in the handler's table"
    );
    client.send("by id");
    assert_eq!(
        client.receive().unwrap(),
        "`call` is not allowed to this handler, wanted `raw = true` in the handler's table"
    );
    let refusal = server.request("/?answer=close").try_connect().unwrap_err();
    assert_eq!(refusal.status, 500);
    let said = |line: &wsh::test::Line| format!("{line:?}").contains("it wants `raw = true`");
    assert!(server.log().iter().any(said), "{:?}", server.log());
}

#[test]
fn a_session_that_is_over_writes_nothing() {
    let server = wsh::test::load_raw(wsh::descriptor!(blocking blocking), "{}").expect("loaded");
    let mut client = server.connect();

    client.lose();
    client.send("x");

    assert_eq!(client.receive_raw(), None);
}
