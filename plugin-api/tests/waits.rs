//! Waits of async and blocking functions that end at a deadline, or are dropped, on the server of `wsh::test`.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use wsh::{Instant, abi::Descriptor, prelude::*};

const PERIOD: Duration = Duration::from_millis(100);

async fn ticks(conn: &mut AsyncConn) -> Result {
    let mut tick = Instant::now() + PERIOD;
    loop {
        match conn.recv_until(tick).await {
            Ok(Some(message)) => conn.send(message).await?,
            Ok(None) => return Ok(()),
            Err(Elapsed) => {
                tick += PERIOD;
                conn.send("tick").await?;
            }
        }
    }
}

#[test]
fn messages_between_ticks_do_not_delay_them() {
    let mut client = wsh::test::connect(wsh::descriptor!(async ticks));
    let mut heard = Vec::new();

    for step in 1..=10 {
        client.advance(Duration::from_millis(33));
        client.send(format!("{}", step * 33));
        heard.extend(std::iter::from_fn(|| client.try_receive()).map(|it| it.to_string()));
    }

    let wanted = [
        "33", "66", "99", "tick", "132", "165", "198", "tick", "231", "264", "297", "tick", "330",
    ];
    assert_eq!(heard, wanted);
    client.close(1000, "");
    assert_eq!(client.closed().unwrap().code, 1000);
}

#[test]
fn a_deadline_that_has_passed_is_reported_before_messages_that_wait() {
    async fn late(conn: &mut AsyncConn) -> Result {
        let mut told = 0;
        let start = Instant::now();
        loop {
            // The deadline has passed each time.
            match conn.recv_until(start).await {
                Err(Elapsed) if told < 3 => told += 1,
                Err(Elapsed) => break,
                Ok(_) => return Err("a message".into()),
            }
        }
        let message = conn.recv().await.ok_or("gone")?;
        conn.send(format!("{told} then {message}")).await?;
        Ok(())
    }
    fn late_blocking(conn: BlockingConn) -> Result {
        let start = Instant::now();
        for _ in 0..3 {
            if conn.recv_until(start).is_ok() {
                return Err("a message".into());
            }
        }
        let message = conn.recv().ok_or("gone")?;
        conn.send(format!("3 then {message}"))?;
        Ok(())
    }
    for handler in [
        wsh::descriptor!(async late),
        wsh::descriptor!(blocking late_blocking),
    ] {
        let mut client = wsh::test::connect(handler);
        client.send("hi");
        assert_eq!(client.receive().unwrap(), "3 then hi");
    }
}

#[test]
fn a_blocking_function_ticks_beside_its_messages() {
    fn ticks_blocking(conn: BlockingConn) -> Result {
        let period = Duration::from_millis(20);
        let (begin, mut tick, mut ticks) = (Instant::now(), Instant::now(), 0);
        while ticks < 5 {
            match conn.recv_until(tick) {
                Ok(Some(message)) => conn.send(message)?,
                Ok(None) => return Ok(()),
                Err(Elapsed) => {
                    tick += period;
                    ticks += 1;
                }
            }
        }
        // The first tick comes at once.
        assert!(begin.elapsed() >= 4 * period, "{:?}", begin.elapsed());
        conn.send("five ticks")?;
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(blocking ticks_blocking));
    for number in 0..100 {
        client.send(number.to_string());
    }
    for number in 0..100 {
        assert_eq!(client.receive().unwrap(), number.to_string().as_str());
    }
    assert_eq!(client.receive().unwrap(), "five ticks");
}

/// Polls a wait a number of times and drops it then, like a `select!` in which something else comes first.
async fn given_up<F: Future>(wait: F, polls: usize) -> Option<F::Output> {
    let mut wait = pin!(wait);
    let mut left = polls;
    poll_fn(|cx| match (wait.as_mut().poll(cx), left) {
        (Poll::Ready(answer), _) => Poll::Ready(Some(answer)),
        (Poll::Pending, 0 | 1) => Poll::Ready(None),
        (Poll::Pending, _) => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Ready at the second poll, which the next callback of the session makes.
struct Next(bool);

impl Future for Next {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<()> {
        match std::mem::replace(&mut self.0, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

#[test]
fn a_wait_that_is_dropped_loses_no_message() {
    /// Drops a wait of each kind in turn, once after one poll and once after two.
    async fn echo(conn: &mut AsyncConn) -> Result {
        for round in 0.. {
            let polls = 1 + round % 2;
            let hour = Duration::from_secs(3600);
            let message = match round % 4 {
                0 => given_up(conn.recv(), polls).await,
                1 => given_up(conn.recv_timeout(hour), polls)
                    .await
                    .map(|it| it.unwrap_or(None)),
                2 => given_up(conn.recv_until(Instant::now() + hour), polls)
                    .await
                    .map(|it| it.unwrap_or(None)),
                _ => given_up(conn.recv_part(), polls)
                    .await
                    .map(|it| it.map(PartBuf::into_message)),
            };
            match message {
                Some(Some(message)) => conn.send(message).await?,
                Some(None) => break,
                None => Next(false).await,
            }
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async echo));

    for number in 0..200 {
        client.send(number.to_string());
    }

    for number in 0..200 {
        // Another callback, for the wait that is ready at the next one.
        client.ping(b"");
        assert_eq!(client.receive().unwrap(), number.to_string().as_str());
    }
}

#[test]
fn a_wait_for_a_whole_message_that_is_dropped_loses_no_part_of_it() {
    async fn gather(conn: &mut AsyncConn) -> Result {
        loop {
            match given_up(conn.recv(), 1).await {
                Some(Some(message)) => conn.send(message).await?,
                Some(None) => return Ok(()),
                None => Next(false).await,
            }
        }
    }
    fn gather_blocking(conn: BlockingConn) -> Result {
        loop {
            match conn.recv_timeout(Duration::from_millis(1)) {
                Ok(Some(message)) => conn.send(message)?,
                Ok(None) => return Ok(()),
                Err(Elapsed) => {}
            }
        }
    }
    let every: [Descriptor; 2] = [
        wsh::descriptor!(async gather, parts),
        wsh::descriptor!(blocking gather_blocking, parts),
    ];
    for handler in every {
        let mut client = wsh::test::connect(handler);
        for round in 0..5 {
            for part in ["a", "b", "c", "d"] {
                client.send_part(format!("{part}{round}"), false);
                client.ping(b"");
            }
            client.send_part("!", true);
            client.ping(b"");
            let wanted = format!("a{round}b{round}c{round}d{round}!");
            assert_eq!(client.receive().unwrap(), wanted.as_str());
        }
    }
}
