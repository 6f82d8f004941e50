//! The async and the blocking style, on the server of `wsh::test`.

use std::time::Duration;

use wsh::prelude::*;

async fn echo(conn: &mut AsyncConn) -> Result {
    while let Some(message) = conn.recv().await {
        if message == "fail" {
            return Err("as asked".into());
        }
        let is_last = message == "Goodbye";
        conn.send(message).await?;
        if is_last {
            break;
        }
    }
    Ok(())
}

async fn count(conn: &mut AsyncConn<u64>) -> Result {
    while conn.recv().await.is_some() {
        conn.state += 1;
        conn.send(conn.state.to_string()).await?;
    }
    Ok(())
}

async fn clock(conn: &mut AsyncConn) -> Result {
    loop {
        conn.sleep(Duration::from_secs(1)).await;
        conn.send("tick").await?;
    }
}

fn blocking(conn: BlockingConn) -> Result {
    for message in &conn {
        let is_last = message == "Goodbye";
        conn.send(message)?;
        if is_last {
            break;
        }
    }
    Ok(())
}

#[test]
fn both_styles_echo_and_close_when_they_return() {
    for handler in [
        wsh::descriptor!(async echo),
        wsh::descriptor!(blocking blocking),
    ] {
        let server = wsh::test::serve(handler);
        let mut client = server.connect();
        for number in 0..1000 {
            client.send(number.to_string());
        }
        for number in 0..1000 {
            assert_eq!(client.receive().unwrap(), number.to_string().as_str());
        }

        client.send("Goodbye");

        assert_eq!(client.receive().unwrap(), "Goodbye");
        assert_eq!(client.receive(), None);
        assert_eq!(client.closed().unwrap().code, 1000);
        let mut lost = server.connect();
        lost.send("x");
        drop((lost, server));
    }
}

#[test]
fn the_last_message_of_a_blocking_function_leaves_before_the_close() {
    let server = wsh::test::serve(wsh::descriptor!(blocking blocking));
    // The function's thread and the callbacks race each other.
    for _ in 0..500 {
        let mut client = server.connect();

        client.send("Goodbye");

        assert_eq!(client.receive().unwrap(), "Goodbye");
        assert_eq!(client.receive(), None);
        assert_eq!(client.closed().unwrap().code, 1000);
    }
}

#[test]
fn an_error_closes_with_1011_and_is_logged() {
    let server = wsh::test::serve(wsh::descriptor!(async echo));
    let mut client = server.connect();

    client.send("fail");

    assert_eq!(client.closed().unwrap().code, 1011);
    let lines = server.log();
    assert!(
        lines.iter().any(|line| line.message == "as asked"),
        "{lines:?}"
    );
}

#[test]
fn an_async_session_moves_with_its_state() {
    let mut client = wsh::test::connect(wsh::descriptor!(async count));
    client.send("x");
    assert_eq!(client.receive().unwrap(), "1");

    assert!(client.migrate());
    client.send("x");

    assert_eq!(client.receive().unwrap(), "2");
    assert_eq!(client.generation(), Some(2));
}

#[test]
fn an_async_session_sleeps_in_the_time_of_the_test() {
    let mut client = wsh::test::connect(wsh::descriptor!(async clock));

    client.advance(Duration::from_millis(999));
    assert_eq!(client.receive(), None);
    client.advance(Duration::from_millis(2001));

    let ticks = std::iter::from_fn(|| client.try_receive()).count();
    assert_eq!(ticks, 3);
    client.close(1000, "");
    assert_eq!(client.closed().unwrap().code, 1000);
}
