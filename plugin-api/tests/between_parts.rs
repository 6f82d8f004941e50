//! A whole message between the parts of another is refused, in every style.

use wsh::{Refused, abi::Descriptor, prelude::*};

/// Whether an answer says that a message in parts is not complete.
fn is_between<T>(answer: Result<T, Refused>) -> bool {
    matches!(answer, Err(Refused::Invalid(rule)) if rule.argument() == "message")
}

#[derive(Default)]
struct Events;

impl Session for Events {
    fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
        conn.send_part("half ", false)?;
        assert!(is_between(conn.send("a message of its own")));
        assert!(is_between(conn.send(b"of the other kind")));
        assert!(is_between(conn.send_json(&1)));
        let written = conn.send_with(Kind::Text, 9, |out| std::fmt::Write::write_str(out, "x"));
        assert!(is_between(written));
        conn.handle().send("from outside")?;
        conn.publish("tea", "published")?;
        conn.ping(b"")?;
        conn.send_part("whole", true)?;
        conn.send("after")?;
        Ok(())
    }
}

async fn function(conn: &mut AsyncConn) -> Result {
    while conn.recv().await.is_some() {
        conn.send_part("half ", false).await?;
        assert!(is_between(conn.send("a message of its own").await));
        assert!(is_between(conn.send(b"of the other kind").result()));
        assert!(is_between(conn.send_json(&1).await));
        drop(conn.send("that nothing asks for"));
        let written = conn.send_with(Kind::Text, 9, |out| std::fmt::Write::write_str(out, "x"));
        assert!(is_between(written.await));
        conn.handle().send("from outside")?;
        conn.send_part("whole", true).await?;
        conn.send("after").await?;
    }
    Ok(())
}

fn blocking(conn: BlockingConn) -> Result {
    while conn.recv().is_some() {
        conn.send_part("half ", false)?;
        assert!(is_between(conn.send("a message of its own")));
        assert!(is_between(conn.send(b"of the other kind")));
        assert!(is_between(conn.send_json(&1)));
        // A message that is longer than those that the thread leaves to a callback.
        assert!(is_between(conn.send(vec![0; 100_000])));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| conn.send("of another thread"));
            assert!(is_between(other.join().expect("it does not panic")));
        });
        conn.handle().send("from outside")?;
        conn.send_part("whole", true)?;
        conn.send("after")?;
    }
    Ok(())
}

#[test]
fn a_whole_message_between_two_parts_of_another_is_refused_and_queues_nothing() {
    for handler in [
        wsh::descriptor!(Events),
        wsh::descriptor!(async function),
        wsh::descriptor!(blocking blocking),
    ] {
        let server = wsh::test::serve(handler);
        let mut client = server.connect();
        for _ in 0..2 {
            client.send("go");
            let mut received: Vec<String> = (0..3)
                .map_while(|_| client.receive())
                .map(|message| message.to_string())
                .collect();
            assert_eq!(received.first().map(String::as_str), Some("half whole"));
            received.sort();
            assert_eq!(received, ["after", "from outside", "half whole"]);
            assert_eq!(client.try_receive(), None);
        }
        assert_eq!(client.closed(), None);
    }
}

#[test]
fn a_message_in_parts_ends_with_its_session() {
    #[derive(Default)]
    struct Closes;
    impl Session for Closes {
        fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
            conn.send_part("half ", false)?;
            match message.as_text() {
                Some("close") => conn.close(4000, "")?,
                _ => conn.abort()?,
            }
            assert_eq!(conn.send("late"), Err(Refused::Gone));
            assert_eq!(conn.send_part("late", true), Err(Refused::Gone));
            Ok(())
        }
    }
    for (says, code) in [("close", 4000), ("abort", 1006)] {
        let server = wsh::test::serve(wsh::descriptor!(Closes));
        let mut client = server.connect();
        client.send(says);
        assert_eq!(client.closed().map(|close| close.code), Some(code));
        assert!(
            !server
                .log()
                .iter()
                .any(|line| line.message.contains("panic"))
        );
    }
}

#[test]
fn a_function_that_returns_between_two_parts_has_failed_unless_its_session_ends() {
    async fn leaves(conn: &mut AsyncConn) -> Result {
        conn.send_part("half ", false).await?;
        match conn.recv().await {
            Some(message) if message == "close" => conn.close(4000, "")?,
            _ => {}
        }
        Ok(())
    }
    fn leaves_blocking(conn: BlockingConn) -> Result {
        conn.send_part("half ", false)?;
        match conn.recv() {
            Some(message) if message == "close" => conn.close(4000, "")?,
            _ => {}
        }
        Ok(())
    }
    let styles: [fn() -> Descriptor; 2] = [
        || wsh::descriptor!(async leaves),
        || wsh::descriptor!(blocking leaves_blocking),
    ];
    for style in styles {
        for (says, code) in [("return", 1011), ("close", 4000)] {
            let server = wsh::test::serve(style());
            let mut client = server.connect();
            client.send(says);
            assert_eq!(client.receive(), None);
            assert_eq!(
                client.closed().map(|close| close.code),
                Some(code),
                "{says}"
            );
            let log = server.log();
            let is_told = log
                .iter()
                .any(|line| line.to_string().contains("in parts is open"));
            assert_eq!(is_told, code == 1011, "{log:?}");
        }
        let server = wsh::test::serve(style());
        let mut client = server.connect();
        client.close(1001, "");
        assert_eq!(client.receive(), None);
        assert_eq!(client.closed().map(|close| close.code), Some(1001));
    }
}
