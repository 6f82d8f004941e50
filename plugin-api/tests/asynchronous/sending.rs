//! Sends that wait until they fit, and those that are not awaited.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use wsh::{Refused, prelude::*};

use crate::{code, texts};

/// The lengths of all messages that have arrived.
fn lengths(client: &mut wsh::test::Client) -> Vec<usize> {
    std::iter::from_fn(|| client.try_receive())
        .map(|message| message.len())
        .collect()
}

#[test]
fn an_awaited_send_waits_until_its_message_fits_and_moves_no_session_meanwhile() {
    async fn floods(conn: &mut AsyncConn) -> Result {
        while conn.recv().await.is_some() {
            // Two of these exceed the outbound limit together, and one does so alone.
            for bytes in [900_000, 900_000, OUTBOUND_BYTES_MAX + 1, 10, 900_000] {
                conn.send(vec![0; bytes]).await?;
            }
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async floods, restarts));
    client.stall();
    client.send("go");

    assert!(!client.migrate());
    for _ in 0..10 {
        // Other callbacks during the wait change nothing.
        client.ping(b"");
    }
    assert_eq!((lengths(&mut client), code(&mut client)), (vec![], None));
    client.resume();

    let sent = [900_000, 900_000, OUTBOUND_BYTES_MAX + 1, 10, 900_000];
    assert_eq!(lengths(&mut client), sent);
    assert!(client.migrate());
    client.send("go");
    assert_eq!(lengths(&mut client), sent);
    assert_eq!(code(&mut client), None);
}

#[test]
fn the_end_of_the_session_wakes_a_send_that_waits() {
    static REFUSED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    async fn floods(conn: &mut AsyncConn) -> Result {
        conn.recv().await;
        drop(conn.send(vec![0; 900_000]));
        let answer = conn.send(vec![0; 900_000]).await;
        REFUSED.lock().unwrap().push(format!("{answer:?}"));
        answer?;
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(async floods));
    let closes = |client: &mut wsh::test::Client| {
        client.close(4001, "");
        client.advance(Duration::from_secs(60));
    };
    for end in [wsh::test::Client::lose, closes] {
        let mut client = server.connect();
        client.stall();
        client.send("go");
        assert_eq!(code(&mut client), None);
        end(&mut client);
    }
    assert_eq!(*REFUSED.lock().unwrap(), ["Err(Gone)", "Err(Gone)"]);
    assert_eq!(server.log(), []);
}

#[test]
fn a_message_that_never_fits_is_refused_at_once_and_the_session_goes_on() {
    async fn floods(conn: &mut AsyncConn) -> Result {
        conn.send("before").await?;
        let refused = conn.send(vec![0; MESSAGE_BYTES_MAX + 1]).await.unwrap_err();
        conn.send(refused.to_string()).await?;
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async floods));

    let refusal = "`message` has 1073741825 bytes, wanted at most 1 GiB";
    assert_eq!(texts(&mut client), ["before", refusal]);
    assert_eq!(code(&mut client), Some(1000));
}

#[test]
fn a_send_that_does_not_fit_and_is_not_awaited_is_refused_dropped_or_closes_the_session() {
    async fn sends(conn: &mut AsyncConn) -> Result {
        while let Some(order) = conn.recv().await {
            let large = || vec![0; 900_000];
            drop(conn.send(large()));
            match order.as_text() {
                Some("look") => {
                    let full = conn.send(large()).result();
                    assert_eq!(full, Err(Refused::Full));
                }
                Some("give up") => {
                    let mut wait = pin!(conn.send(large()));
                    poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx).is_pending())).await;
                }
                _ => drop(conn.send(large())),
            }
            drop(conn.send("small"));
        }
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(async sends));
    for order in ["look", "give up"] {
        let mut client = server.connect();
        client.stall();
        client.send(order);
        client.resume();
        assert_eq!(lengths(&mut client), [900_000, 5], "{order}");
        assert_eq!(code(&mut client), None);
    }
    let mut client = server.connect();
    client.stall();
    client.send("drop");
    client.resume();
    assert_eq!(lengths(&mut client), [900_000]);
    assert_eq!(code(&mut client), Some(1008));
}

#[test]
fn sends_that_wait_together_are_all_sent() {
    static DONE: AtomicU64 = AtomicU64::new(0);
    async fn floods(conn: &mut AsyncConn) -> Result {
        conn.recv().await;
        conn.send(vec![1; 20_000]).await?;
        {
            let conn = &*conn;
            let mut sends: Vec<_> = [1_000_000, 30_000, 1_040_000, 9]
                .map(|bytes| Some(Box::pin(conn.send(vec![0; bytes]))))
                .into();
            poll_fn(|cx| {
                for send in &mut sends {
                    if let Some(waits) = send
                        && let Poll::Ready(answer) = waits.as_mut().poll(cx)
                    {
                        answer.unwrap();
                        DONE.fetch_add(1, Relaxed);
                        *send = None;
                    }
                }
                if sends.iter().all(Option::is_none) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
        conn.send_with(Kind::Text, 10, |out| {
            std::fmt::Write::write_str(out, "written")
        })
        .await?;
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(async floods));
    let mut client = server.connect();
    client.stall();
    client.send("go");
    assert!(DONE.load(Relaxed) < 4);

    client.resume();

    let mut lengths = lengths(&mut client);
    lengths.sort_unstable();
    assert_eq!(lengths, [7, 9, 20_000, 30_000, 1_000_000, 1_040_000]);
    assert_eq!(code(&mut client), Some(1000));
}

#[test]
fn a_message_that_is_written_in_place_waits_for_a_slow_peer() {
    async fn writes(conn: &mut AsyncConn) -> Result {
        conn.recv().await;
        for number in 0..2_000 {
            conn.send_with(Kind::Text, 2_000, |out| {
                std::fmt::Write::write_fmt(out, format_args!("{number:01000}"))
            })
            .await?;
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async writes));
    client.stall();
    client.send("go");
    assert_eq!(code(&mut client), None);
    client.resume();

    let numbers: Vec<_> = texts(&mut client);
    let numbers: Vec<u32> = numbers.iter().map(|text| text.parse().unwrap()).collect();
    assert!(numbers.into_iter().eq(0..2_000));
    assert_eq!(code(&mut client), Some(1000));
}

/// The outbound limit of `wsh::test`.
const OUTBOUND_BYTES_MAX: usize = 1024 * 1024;
/// The longest message that can be sent.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024 * 1024;
