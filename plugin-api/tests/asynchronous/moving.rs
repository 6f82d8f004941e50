//! Async sessions that move from one generation to the next.

use std::{future::poll_fn, task::Poll, time::Duration};

use wsh::prelude::*;

use crate::{Gate, texts};

#[test]
fn a_session_moves_from_where_it_waits_for_its_connection_only() {
    static GATE: Gate = Gate::shut();
    async fn count(conn: &mut AsyncConn<u64>) -> Result {
        conn.send(format!("{} {}", conn.state, conn.is_restored()))
            .await?;
        while let Some(message) = conn.recv().await {
            conn.state += 1;
            if message == "elsewhere" {
                GATE.pass().await;
            }
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async count));
    client.send("x");
    assert_eq!(texts(&mut client), ["0 false"]);

    assert!(client.migrate());
    assert_eq!(texts(&mut client), ["1 true"]);
    client.send("elsewhere");
    assert!(!client.migrate());
    assert_eq!(client.generation(), Some(2));

    // The session is asked again after its next callback.
    GATE.open();
    assert_eq!(texts(&mut client), ["2 true"]);
    assert_eq!(client.generation(), Some(3));
}

#[test]
fn a_state_that_was_written_down_is_not_used_once_the_function_went_on() {
    static GATE: Gate = Gate::shut();
    async fn either(conn: &mut AsyncConn<u64>) -> Result {
        conn.send(conn.state.to_string()).await?;
        {
            let mut recv = Box::pin(conn.recv());
            // Like in a `select!`: the connection is polled first, and then the other future is ready.
            poll_fn(|cx| {
                if recv.as_mut().poll(cx).is_ready() || GATE.0.lock().unwrap().0 {
                    return Poll::Ready(());
                }
                Poll::Pending
            })
            .await;
        }
        conn.state += 1;
        std::future::pending::<()>().await;
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async either));
    assert_eq!(texts(&mut client), ["0"]);
    GATE.open();

    assert!(!client.migrate());

    assert_eq!(client.generation(), Some(1));
    client.lose();
    // The function would wait for ever, so the server ends it.
    client.advance(Duration::from_secs(30));
}

#[test]
fn a_request_that_a_function_takes_moves_with_its_session() {
    async fn who(conn: &mut AsyncConn<u64>, request: &Request<'_>) -> Result {
        let name = request.query("name").unwrap_or("nobody");
        let agent = request.header("user-agent").unwrap_or("nothing");
        conn.send(format!("{name} with {agent}, {}", conn.state))
            .await?;
        while conn.recv().await.is_some() {
            conn.state += 1;
        }
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(async who));
    let request = server.request("/?name=ann").header("user-agent", "a test");
    let mut client = request.connect();
    client.send("x");
    assert_eq!(texts(&mut client), ["ann with a test, 0"]);

    assert!(client.migrate());

    assert_eq!(texts(&mut client), ["ann with a test, 1"]);
}

#[test]
fn a_function_that_takes_the_request_does_not_restore_a_session_without_one() {
    async fn without(conn: &mut AsyncConn) -> Result {
        conn.recv().await;
        Ok(())
    }
    async fn with(conn: &mut AsyncConn, _: &Request<'_>) -> Result {
        conn.recv().await;
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(async without, restarts));
    let client = server.connect();

    server
        .reload(wsh::descriptor!(async with, restarts))
        .unwrap();

    assert_eq!(client.generation(), Some(1));
}

#[test]
fn a_timer_of_an_older_generation_does_not_end_a_wait() {
    async fn sleeps(conn: &mut AsyncConn) -> Result {
        conn.sleep(Duration::from_secs(10)).await;
        conn.send("awake").await?;
        conn.recv().await;
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async sleeps, restarts));
    client.advance(Duration::from_secs(5));

    assert!(client.migrate());

    client.advance(Duration::from_secs(9));
    assert_eq!(texts(&mut client), [""; 0]);
    client.advance(Duration::from_secs(1));
    assert_eq!(texts(&mut client), ["awake"]);
}

#[test]
fn the_descriptor_says_what_a_handler_is() {
    async fn moves(_: &mut AsyncConn<u64>) -> Result {
        Ok(())
    }
    async fn moves_with_request(_: &mut AsyncConn, _: &Request<'_>) -> Result {
        Ok(())
    }
    use wsh::abi::{ASYNC, MIGRATES};

    let alone = wsh::descriptor!(async moves);
    let with_request = wsh::descriptor!(async moves_with_request, restarts);

    assert_eq!(alone.flags, ASYNC | MIGRATES);
    assert_eq!(with_request.flags, ASYNC | MIGRATES);
    assert_ne!(alone.state_schema, with_request.state_schema);
}

#[test]
fn a_session_that_moves_for_ever_leaves_no_timers_behind() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    const SHORT: Duration = Duration::from_secs(1);
    /// The first wait in each generation is long, except in the hundredth.
    async fn wait(conn: &mut AsyncConn<u64>) -> Result {
        conn.state += 1;
        let first = if conn.state < 100 { DAY } else { SHORT };
        for timeout in [first, DAY] {
            if conn.recv_timeout(timeout).await.is_err() {
                conn.send(format!("ran out in {}", conn.state)).await?;
            }
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async wait));

    for _ in 1..100 {
        assert!(client.migrate());
        assert!(texts(&mut client).is_empty());
    }

    client.advance(SHORT);
    assert_eq!(texts(&mut client), ["ran out in 100"]);
    // No timer of an older generation ends the next wait.
    client.advance(DAY - 2 * SHORT);
    assert!(texts(&mut client).is_empty());
}

#[test]
fn a_function_without_a_state_moves_only_if_it_may_begin_again() {
    async fn login(conn: &mut AsyncConn) -> Result {
        conn.send("who are you?").await?;
        while let Some(message) = conn.recv().await {
            conn.send(format!("hello {message}")).await?;
        }
        Ok(())
    }
    let mut stays = wsh::test::connect(wsh::descriptor!(async login));
    let mut begins_again = wsh::test::connect(wsh::descriptor!(async login, restarts));

    assert!(!stays.migrate());
    assert!(begins_again.migrate());

    stays.send("ann");
    assert_eq!(texts(&mut stays), ["who are you?", "hello ann"]);
    assert_eq!(texts(&mut begins_again), ["who are you?", "who are you?"]);
}

#[test]
fn a_session_that_also_waits_for_something_else_stays_until_that_has_come() {
    static GATE: Gate = Gate::shut();
    async fn either(conn: &mut AsyncConn<u64>) -> Result {
        conn.send(format!("begins with {}", conn.state)).await?;
        let passed = {
            let (recv, pass) = (conn.recv(), GATE.pass());
            let (mut recv, mut pass) = (Box::pin(recv), Box::pin(pass));
            poll_fn(|cx| {
                if let Poll::Ready(message) = recv.as_mut().poll(cx) {
                    return Poll::Ready(message.is_none());
                }
                pass.as_mut().poll(cx).map(|()| true)
            })
            .await
        };
        conn.state += 1;
        conn.send(format!("passed {passed}")).await?;
        conn.recv().await;
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async either));

    assert!(!client.migrate());
    assert!(!client.migrate());
    GATE.open();

    assert_eq!(
        texts(&mut client),
        [
            "begins with 0",
            "passed true",
            "begins with 1",
            "passed true"
        ]
    );
    assert_eq!(client.generation(), Some(3));
}

#[test]
fn a_session_that_lets_go_moves_whatever_else_it_waits_for() {
    static NEVER: Gate = Gate::shut();
    async fn either(conn: &mut AsyncConn<u64>) -> Result {
        let let_go = (conn.state < 2).then(|| conn.let_go());
        conn.send(format!("begins with {}", conn.state)).await?;
        loop {
            let message = {
                let (mut recv, mut pass) = (Box::pin(conn.recv()), Box::pin(NEVER.pass()));
                poll_fn(|cx| match pass.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(None),
                    Poll::Pending => recv.as_mut().poll(cx),
                })
                .await
            };
            let Some(message) = message else {
                return Ok(());
            };
            match &*message.to_string() {
                "stay" => std::mem::forget(conn.stay()),
                _ => conn.state += 1,
            }
            conn.send(format!("heard {message}")).await?;
            let _ = &let_go;
        }
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async either));
    client.send("a");
    assert!(client.migrate());
    client.send("b");
    assert_eq!(
        texts(&mut client),
        ["begins with 0", "heard a", "begins with 1", "heard b"]
    );

    // The guard lets go until it is dropped, and a stay has precedence.
    assert!(client.migrate());
    assert_eq!(texts(&mut client), ["begins with 2"]);
    assert!(!client.migrate());
    let mut stays = wsh::test::connect(wsh::descriptor!(async either));
    stays.send("stay");
    assert!(!stays.migrate());
    assert_eq!(texts(&mut stays), ["begins with 0", "heard stay"]);
}

#[test]
fn a_session_stays_while_a_stay_lives() {
    async fn login(conn: &mut AsyncConn<String>) -> Result {
        if conn.state.is_empty() {
            let stay = conn.stay();
            conn.send("name?").await?;
            let name = conn.recv().await.ok_or("gone")?;
            conn.send("password?").await?;
            conn.recv().await.ok_or("gone")?;
            conn.state = name.to_string();
            drop(stay);
        }
        conn.send(format!("hello {}", conn.state)).await?;
        while conn.recv().await.is_some() {}
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async login));

    assert!(!client.migrate());
    client.send("ann");
    assert_eq!(client.generation(), Some(1));
    client.send("secret");

    assert_eq!(
        texts(&mut client),
        ["name?", "password?", "hello ann", "hello ann"]
    );
    assert_eq!(client.generation(), Some(2));
}

#[test]
fn a_function_that_was_woken_before_a_move_goes_on_where_it_can_use_its_connection() {
    static GATE: Gate = Gate::shut();
    async fn joins(conn: &mut AsyncConn<u32>) -> Result {
        if conn.state == 0 {
            GATE.pass().await;
            conn.subscribe("room")?;
            conn.state = 1;
        }
        while let Some(message) = conn.recv().await {
            conn.send(format!("{}: {message}", conn.state)).await?;
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async joins));

    GATE.open();

    assert!(client.migrate());
    client.send("moved");
    assert_eq!(client.receive().unwrap(), "1: moved");
}

#[test]
fn a_function_that_begins_again_has_not_paused() {
    async fn pauses(conn: &mut AsyncConn) -> Result {
        while let Some(message) = conn.recv().await {
            conn.send(message).await?;
            conn.pause()?;
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async pauses, restarts));
    client.send("first");
    assert_eq!(client.receive().unwrap(), "first");
    client.send("second");
    assert_eq!(client.try_receive(), None);

    assert!(client.migrate());

    assert_eq!(client.receive().unwrap(), "second");
}
