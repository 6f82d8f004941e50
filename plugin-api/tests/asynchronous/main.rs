//! The async style, on the server of `wsh::test`.

mod ending;
mod helpers;
mod moving;
mod sending;

use std::{
    future::poll_fn,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Poll, Waker},
    time::Duration,
};

use wsh::prelude::*;

/// A gate that a function waits for, beside its connection. Each test has its own static, so that tests do not interfere.
struct Gate(Mutex<(bool, Vec<Waker>)>);

impl Gate {
    const fn shut() -> Self {
        Gate(Mutex::new((false, Vec::new())))
    }

    fn open(&self) {
        let mut gate = self.0.lock().unwrap();
        gate.0 = true;
        gate.1.drain(..).for_each(Waker::wake);
    }

    async fn pass(&self) {
        poll_fn(|cx| {
            let mut gate = self.0.lock().unwrap();
            if gate.0 {
                return Poll::Ready(());
            }
            gate.1.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

fn texts(client: &mut wsh::test::Client) -> Vec<String> {
    std::iter::from_fn(|| client.try_receive())
        .map(|message| message.to_string())
        .collect()
}

fn code(client: &mut wsh::test::Client) -> Option<u32> {
    client.closed().map(|close| close.code)
}

#[test]
fn a_peer_is_held_back_while_the_function_is_elsewhere_and_nothing_is_lost() {
    static GATE: Gate = Gate::shut();
    async fn slow(conn: &mut AsyncConn) -> Result {
        GATE.pass().await;
        while let Some(message) = conn.recv().await {
            // The Close came after the messages, so a session that knows of it has read them all.
            let knows = if conn.closed().is_some() { "!" } else { "" };
            conn.send(format!("{message}{knows}")).await?;
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async slow));
    for number in 0..200 {
        client.send(number.to_string());
    }
    client.close(4001, "");
    assert_eq!(texts(&mut client), [""; 0]);
    assert_eq!(code(&mut client), None);

    GATE.open();

    let told = texts(&mut client);
    let numbers: Vec<_> = told.iter().map(|text| text.trim_end_matches('!')).collect();
    let sent: Vec<_> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(numbers, sent);
    assert!(told[..64].iter().all(|text| !text.ends_with('!')));
    assert_eq!(code(&mut client), Some(4001));
}

#[test]
fn a_pause_of_the_author_lasts_until_its_resume() {
    async fn pauses(conn: &mut AsyncConn) -> Result {
        conn.recv().await;
        conn.pause()?;
        conn.sleep(Duration::from_secs(10)).await;
        conn.send("awake").await?;
        conn.resume()?;
        while let Some(message) = conn.recv().await {
            conn.send(message).await?;
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async pauses));
    client.send("first");
    client.send("second");

    client.advance(Duration::from_secs(9));
    assert_eq!(texts(&mut client), [""; 0]);
    client.advance(Duration::from_secs(1));

    assert_eq!(texts(&mut client), ["awake", "second"]);
}

#[test]
fn an_awaited_send_waits_for_a_slow_peer() {
    static SENT: AtomicUsize = AtomicUsize::new(0);
    async fn floods(conn: &mut AsyncConn) -> Result {
        conn.recv().await;
        for _ in 0..2048 {
            conn.send([0; 1024].as_slice()).await?;
            SENT.fetch_add(1, Relaxed);
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async floods));
    client.stall();

    client.send("go");

    // 64 KiB, and a little more for the headers.
    assert!((60..=64).contains(&SENT.load(Relaxed)), "{SENT:?}");
    client.resume();
    let received = std::iter::from_fn(|| client.try_receive()).count();
    assert_eq!(received, 2048);
    assert_eq!(code(&mut client), Some(1000));
}

#[test]
fn recv_timeout_gives_what_comes_in_time() {
    async fn quiet(conn: &mut AsyncConn) -> Result {
        loop {
            match conn.recv_timeout(Duration::from_secs(60)).await {
                Ok(Some(message)) => conn.send(message).await?,
                Ok(None) => return Ok(()),
                Err(Elapsed) => conn.send("still there?").await?,
            }
        }
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async quiet));

    client.advance(Duration::from_secs(59));
    client.send("yes");
    // Each wait has a timeout of its own.
    client.advance(Duration::from_secs(59));
    assert_eq!(texts(&mut client), ["yes"]);
    client.advance(Duration::from_secs(1));

    assert_eq!(texts(&mut client), ["still there?"]);
}

#[test]
fn a_waker_wakes_from_any_thread() {
    static GATE: Gate = Gate::shut();
    async fn waits(conn: &mut AsyncConn) -> Result {
        GATE.pass().await;
        conn.send("open").await?;
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async waits));

    let thread = std::thread::spawn(|| GATE.open());

    let message = client.receive_within(Duration::from_secs(10));
    assert_eq!(message.unwrap(), "open");
    thread.join().unwrap();
}

#[test]
fn a_handshake_lets_in_with_what_it_attached() {
    struct User(String);
    fn check(request: &Request, response: &mut Response) -> Result<Handshake> {
        let Some(token) = request.cookie("token") else {
            return Ok(Handshake::reject(403, "no token"));
        };
        request.attach(User(token.into()));
        response.choose_protocol(request, &["v2", "v1"])
    }
    async fn greets(conn: &mut AsyncConn) -> Result {
        let User(name) = conn.attached().ok_or("nothing attached")?;
        let text = format!("hello {name}, {}", conn.protocol());
        conn.send(text).await?;
        conn.send(conn.protocol()).await?;
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(async greets, handshake = check));

    let request = server.request("/").protocol("v1").cookie("token", "ann");
    let refusal = server.request("/").try_connect().unwrap_err();

    assert_eq!(texts(&mut request.connect()), ["hello ann, v1", "v1"]);
    assert_eq!((refusal.status, refusal.body), (403, b"no token".to_vec()));
}
