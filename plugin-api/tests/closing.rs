//! Errors that name the code and reason with which their session closes, in every style.

use wsh::prelude::*;

/// An error with the message as its reason. For the message `1005` the code is one that may not be sent.
fn refused(message: &Message) -> wsh::Error {
    let reason = message.to_string();
    let code = if reason == "1005" { 1005 } else { 4403 };
    wsh::Error::from("not allowed").close_with(code, &reason)
}

#[derive(Default)]
struct Events;

impl Session for Events {
    fn on_message(&mut self, _: &mut Conn, message: Message) -> Result {
        Err(refused(&message))
    }
}

async fn asynchronous(conn: &mut AsyncConn) -> Result {
    let message = conn.recv().await.ok_or("gone")?;
    Err(refused(&message.as_message()))
}

fn blocking(conn: BlockingConn) -> Result {
    let message = conn.recv().ok_or("gone")?;
    Err(refused(&message.as_message()))
}

#[derive(Default)]
struct Opens;

impl Handler for Opens {
    type Session = Events;

    fn new(_: Config) -> Result<Self> {
        Ok(Opens)
    }

    fn open(&self, _: &mut Conn, request: &Request) -> Result<Events> {
        Err(refused(&Message::Text(
            request.query("why").unwrap_or_default(),
        )))
    }
}

#[test]
fn an_error_says_with_which_code_and_reason_its_session_closes() {
    let descriptors = [
        wsh::descriptor!(Events),
        wsh::descriptor!(async asynchronous),
        wsh::descriptor!(blocking blocking),
    ];
    for (style, descriptor) in ["events", "async", "blocking"].iter().zip(descriptors) {
        let long = "x".repeat(124);
        for (reason, expected) in [
            ("try tomorrow", "4403 try tomorrow"),
            ("", "4403"),
            // A code that may not be sent has no effect on the error.
            ("1005", "1011"),
            (&long, "1011"),
        ] {
            let mut client = wsh::test::connect(&descriptor);

            client.send(reason);

            assert!(client.receive().is_none(), "{style} {reason}");
            let closed = client.closed().map(|close| close.to_string());
            assert_eq!(closed.as_deref(), Some(expected), "{style} {reason}");
        }
    }
}

#[test]
fn an_error_of_open_closes_with_its_code_and_reason() {
    let server = wsh::test::serve(wsh::descriptor!(Opens));
    let mut client = server.request("/opens?why=full").connect();

    assert!(client.receive().is_none());
    assert_eq!(client.closed().unwrap().to_string(), "4403 full");
}
