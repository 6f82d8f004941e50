//! Messages in parts, in every style, on the server of `wsh::test`.

use std::time::Duration;

use wsh::{Refused, abi::Descriptor, prelude::*};

/// Answers each part with a description of it.
#[derive(Default)]
struct Teller;

fn told(part: Part<'_>) -> String {
    let (kind, len) = (part.kind(), part.len());
    let first = if part.is_first() { " first" } else { "" };
    let last = if part.is_last() { " last" } else { "" };
    format!("{kind:?} {len}{first}{last}")
}

impl Session for Teller {
    const PARTS: bool = true;

    fn on_part(&mut self, conn: &mut Conn, part: Part) -> Result {
        conn.send(told(part))?;
        Ok(())
    }
}

async fn tell(conn: &mut AsyncConn) -> Result {
    while let Some(part) = conn.recv_part().await {
        conn.send(told(part.as_part())).await?;
    }
    Ok(())
}

fn tell_blocking(conn: BlockingConn) -> Result {
    while let Some(part) = conn.recv_part() {
        conn.send(told(part.as_part()))?;
    }
    Ok(())
}

fn every_teller() -> [Descriptor; 3] {
    [
        wsh::descriptor!(Teller),
        wsh::descriptor!(async tell, parts),
        wsh::descriptor!(blocking tell_blocking, parts),
    ]
}

#[test]
fn parts_come_as_they_are_sent_and_long_messages_in_parts() {
    for handler in every_teller() {
        let mut client = wsh::test::connect(handler);

        client.send("short");
        client.send_part(b"ab", false);
        client.send_part(b"", false); // is no part
        client.ping(b"between");
        client.send_part(b"c", true);
        // One byte precedes characters of two bytes, so a character straddles the end of each part.
        client.send(format!("x{}", "é".repeat(40_000)));
        client.send(vec![0; 200_000]);

        for expected in [
            "Text 5 first last",
            "Binary 2 first",
            "Binary 1 last",
            "Text 65535 first",
            "Text 14466 last",
            "Binary 65536 first",
            "Binary 65536",
            "Binary 65536",
            "Binary 3392 last",
        ] {
            assert_eq!(client.receive().unwrap(), expected);
        }
    }
}

#[test]
fn a_handler_that_takes_no_parts_gets_whole_messages() {
    #[derive(Default)]
    struct Whole;

    impl Session for Whole {
        fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
            conn.send(message)?;
            Ok(())
        }
    }
    async fn whole(conn: &mut AsyncConn) -> Result {
        while let Some(part) = conn.recv_part().await {
            assert!(part.is_first() && part.is_last());
            conn.send(part.into_message()).await?;
        }
        Ok(())
    }
    for handler in [wsh::descriptor!(Whole), wsh::descriptor!(async whole)] {
        let mut client = wsh::test::connect(handler);

        client.send_part("in ", false);
        client.send_part("parts", true);
        client.send(vec![7; 2_000_000]);

        assert_eq!(client.receive().unwrap(), "in parts");
        assert_eq!(client.receive().unwrap().len(), 2_000_000);
    }
}

async fn download(conn: &mut AsyncConn) -> Result {
    while let Some(message) = conn.recv().await {
        let parts: usize = message.to_string().parse()?;
        for part in 1..=parts {
            conn.send_part(vec![part as u8; 40_000], part == parts)
                .await?;
        }
    }
    Ok(())
}

fn download_blocking(conn: BlockingConn) -> Result {
    for message in &conn {
        let parts: usize = message.to_string().parse()?;
        for part in 1..=parts {
            conn.send_part(&[part as u8; 40_000], part == parts)?;
        }
    }
    Ok(())
}

/// Sends the parts that fit, and goes on when `drain` comes.
#[derive(Default)]
struct Download {
    next: usize,
    parts: usize,
}

impl Download {
    fn go_on(&mut self, conn: &Conn) -> Result {
        while self.next <= self.parts {
            let part = [self.next as u8; 40_000];
            match conn.send_part(&part, self.next == self.parts) {
                Ok(_) => self.next += 1,
                Err(Refused::Full) => break,
                Err(refused) => return Err(refused.into()),
            }
        }
        Ok(())
    }
}

impl Session for Download {
    fn on_open(&mut self, conn: &mut Conn) -> Result {
        conn.watermark(65536, 65536)?;
        Ok(())
    }
    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        (self.next, self.parts) = (1, message.to_string().parse()?);
        self.go_on(conn)
    }
    fn on_drain(&mut self, conn: &mut Conn) -> Result {
        self.go_on(conn)
    }
}

#[test]
fn parts_that_are_sent_come_as_one_message_and_wait_for_a_client_that_is_slow() {
    for handler in [
        wsh::descriptor!(Download),
        wsh::descriptor!(async download),
        wsh::descriptor!(blocking download_blocking),
    ] {
        let mut client = wsh::test::connect(handler);
        client.stall();
        client.send("200");
        assert_eq!(client.receive_within(Duration::from_millis(50)), None);

        client.resume();

        let message = client.receive().unwrap();
        let parts: Vec<&[u8]> = message.as_bytes().chunks(40_000).collect();
        assert_eq!(parts.len(), 200);
        for (number, part) in (1..).zip(parts) {
            assert!(part.iter().all(|byte| *byte == number as u8), "{number}");
        }
        assert_eq!(client.closed(), None);
    }
}

#[test]
fn a_part_of_the_other_kind_is_invalid_and_the_message_goes_on() {
    #[derive(Default)]
    struct Mixed;

    impl Session for Mixed {
        fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
            conn.send_part("text", false)?;
            let refused = conn.send_part(b"bytes", true).unwrap_err().to_string();
            conn.send_part(format!(": {refused}"), true)?;
            Ok(())
        }
    }
    async fn mixed(conn: &mut AsyncConn) -> Result {
        conn.recv().await;
        conn.send_part("text", false).await?;
        let refused = conn.send_part(b"bytes", true).await.unwrap_err();
        conn.send_part(format!(": {refused}"), true).await?;
        Ok(())
    }
    fn mixed_blocking(conn: BlockingConn) -> Result {
        let _ = conn.recv();
        conn.send_part("text", false)?;
        let refused = conn.send_part(b"bytes", true).unwrap_err().to_string();
        conn.send_part(format!(": {refused}"), true)?;
        Ok(())
    }
    for handler in [
        wsh::descriptor!(Mixed),
        wsh::descriptor!(async mixed),
        wsh::descriptor!(blocking mixed_blocking),
    ] {
        let mut client = wsh::test::connect(handler);

        client.send("go");

        let wanted = "text: `part` is of another kind than the parts before it, wanted text or binary for all \
                      of a message";
        assert_eq!(client.receive().unwrap(), wanted);
    }
}

#[test]
fn a_function_that_takes_parts_can_receive_a_whole_message() {
    async fn upload(conn: &mut AsyncConn) -> Result {
        while let Some(name) = conn.recv().await {
            let mut bytes = 0;
            while let Some(part) = conn.recv_part().await {
                bytes += part.len();
                if part.is_last() {
                    break;
                }
            }
            conn.send(format!("{name}: {bytes}")).await?;
        }
        Ok(())
    }
    fn upload_blocking(conn: BlockingConn) -> Result {
        while let Some(name) = conn.recv() {
            let mut bytes = 0;
            while let Some(part) = conn.recv_part() {
                bytes += part.len();
                if part.is_last() {
                    break;
                }
            }
            conn.send(format!("{name}: {bytes}"))?;
        }
        Ok(())
    }
    for handler in [
        wsh::descriptor!(async upload, parts),
        wsh::descriptor!(blocking upload_blocking, parts),
    ] {
        let mut client = wsh::test::connect(handler);
        for _ in 0..2 {
            client.send_part("a ", false);
            client.send_part("name", true);
            client.send(vec![0; 3_000_000]);
            assert_eq!(client.receive().unwrap(), "a name: 3000000");
        }

        // A message that is wanted whole has a limit.
        client.send(vec![0; 3_000_000]);
        assert_eq!(client.receive(), None);
        assert_eq!(client.closed().unwrap().code, 1009);
    }
}

#[test]
fn a_session_that_takes_parts_moves_between_two_messages_only() {
    async fn count(conn: &mut AsyncConn<u64>) -> Result {
        while let Some(part) = conn.recv_part().await {
            conn.state += part.len() as u64;
            conn.send(conn.state.to_string()).await?;
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async count, parts));
    client.send_part(b"abc", false);
    assert_eq!(client.receive().unwrap(), "3");

    assert!(!client.migrate());
    client.send_part(b"de", true);

    assert_eq!(client.receive().unwrap(), "5");
    assert_eq!(client.generation(), Some(2));
    client.send(b"f");
    assert_eq!(client.receive().unwrap(), "6");
}
