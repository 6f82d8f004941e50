//! Sends of a blocking function, and their order.

use wsh::{Refused, prelude::*};

use super::*;

#[test]
fn messages_are_sent_at_the_pace_of_the_peer() {
    fn floods(conn: BlockingConn) -> Result {
        for number in 0..8192_u32 {
            let mut message = vec![0; 1024];
            message[..4].copy_from_slice(&number.to_be_bytes());
            conn.send(message)?;
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(blocking floods));

    for number in 0..8192_u32 {
        let message = client.receive().unwrap();
        assert_eq!(message.as_bytes()[..4], number.to_be_bytes());
    }

    assert_eq!(client.receive(), None);
    assert_eq!(client.closed().unwrap().code, 1000);
}

#[test]
fn a_send_waits_until_its_message_fits_also_through_a_reload() {
    fn floods(conn: BlockingConn) -> Result {
        while conn.recv().is_some() {
            // Two of these exceed the outbound limit together, and one does so alone.
            for bytes in [900_000, 900_000, 1024 * 1024 + 1, 10, 900_000] {
                conn.send(vec![0; bytes])?;
            }
        }
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(blocking floods));
    let mut client = server.connect();
    client.stall();
    client.send("go");
    assert!(!client.migrate());
    for _ in 0..10 {
        client.ping(b"");
    }
    assert_eq!(client.closed(), None);
    client.resume();

    let lengths = [900_000, 900_000, 1024 * 1024 + 1, 10, 900_000];
    for bytes in lengths {
        assert_eq!(client.receive().unwrap().len(), bytes);
    }
    assert_eq!((client.generation(), client.closed()), (Some(1), None));
}

#[test]
fn a_message_that_never_fits_is_refused_at_once_and_the_session_goes_on() {
    fn floods(conn: BlockingConn) -> Result {
        conn.send("before")?;
        let refused = conn.send(vec![0; 1024 * 1024 * 1024 + 1]).unwrap_err();
        conn.send(refused.to_string())?;
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(blocking floods));

    let refusal = "`message` has 1073741825 bytes, wanted at most 1 GiB";
    assert_eq!(received(&mut client), ["before", refusal]);
    assert_eq!(client.closed().unwrap().code, 1000);
}

#[test]
fn what_is_sent_published_and_closed_leaves_in_the_order_of_the_calls() {
    fn tells(conn: BlockingConn) -> Result {
        conn.subscribe("room")?;
        // While a message waits to be received, a sent message may wait as well.
        let _ = conn.recv();
        for number in 0..3 {
            conn.send(format!("sent {number}"))?;
            conn.publish("room", format!("published {number}"))?;
        }
        conn.ping(b"between")?;
        conn.send("last")?;
        conn.close(4000, "done")?;
        assert_eq!(conn.send("late"), Err(Refused::Gone));
        assert_eq!(conn.close(4001, ""), Err(Refused::Gone));
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(blocking tells));
    client.send("go");
    client.send("not read");

    let expected: Vec<_> = (0..3)
        .flat_map(|number| [format!("sent {number}"), format!("published {number}")])
        .chain(["last".to_owned()])
        .collect();
    assert_eq!(received(&mut client), expected);
    assert_eq!(client.receive_ping().unwrap(), b"between");
    assert_eq!(client.closed().unwrap().code, 4000);
}
