//! The session number of a handler's log lines, on the server of `wsh::test`.

use wsh::prelude::*;

struct Guarded;

#[derive(Default)]
struct Talker;

impl Handler for Guarded {
    type Session = Talker;

    fn new(_: Config) -> Result<Self> {
        wsh::info!("new");
        Ok(Guarded)
    }
    fn handshake(&self, _: &Request, _: &mut Response) -> Result<Handshake> {
        wsh::info!("handshake");
        Ok(Handshake::accept())
    }
    fn open(&self, _: &mut Conn, _: &Request) -> Result<Talker> {
        wsh::info!("open");
        Ok(Talker)
    }
}

impl Session for Talker {
    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        if message == "fail" {
            return Err("as asked".into());
        }
        wsh::info!("message");
        let id = conn.id();
        wsh::spawn(move |_| wsh::info!(session = id, "thread"))?;
        Ok(())
    }
    fn on_close(&mut self, _: &mut Conn, _: &Close) -> Result {
        wsh::info!("close");
        Ok(())
    }
}

/// The lines as `message session`.
fn lines(server: &wsh::test::Server) -> Vec<String> {
    let log = server.log().into_iter();
    let shown = |session: Option<u64>| session.map_or("none".into(), |id| id.to_string());
    log.map(|line| format!("{} {}", line.message, shown(line.session)))
        .collect()
}

#[test]
fn lines_of_callbacks_carry_the_number_of_their_session() {
    let server = wsh::test::serve(wsh::descriptor!(Guarded));
    let (mut first, mut second) = (server.connect(), server.connect());

    second.send("hi");
    assert_eq!(second.receive(), None, "and its thread has ended");
    first.send("fail");
    second.close(1000, "");

    let wanted = [
        "new none",
        "handshake 1",
        "open 1",
        "handshake 2",
        "open 2",
        "message 2",
        "thread none",
        "as asked 1",
        "close 1",
        "close 2",
    ];
    assert_eq!(lines(&server), wanted);
}

#[test]
fn lines_of_async_and_blocking_functions_carry_the_number_of_their_session() {
    async fn talk(conn: &mut AsyncConn) -> Result {
        wsh::info!("begins");
        while let Some(message) = conn.recv().await {
            wsh::info!("message");
            conn.send(message).await?;
        }
        Ok(())
    }
    fn talk_blocking(conn: BlockingConn) -> Result {
        wsh::info!("begins");
        for message in &conn {
            wsh::info!("message");
            conn.send(message)?;
        }
        Ok(())
    }
    for handler in [
        wsh::descriptor!(async talk),
        wsh::descriptor!(blocking talk_blocking),
    ] {
        let server = wsh::test::serve(handler);
        let (mut first, mut second) = (server.connect(), server.connect());

        second.send("hi");
        assert_eq!(second.receive_within(PATIENCE).unwrap(), "hi");
        first.send("hi");
        assert_eq!(first.receive_within(PATIENCE).unwrap(), "hi");

        let mut found = lines(&server);
        found.sort_unstable();
        let wanted = ["begins 1", "begins 2", "message 1", "message 2"];
        assert_eq!(found, wanted);
    }
}

/// How long a thread may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
