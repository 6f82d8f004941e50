//! Functions that a handler's function calls with its connection, several of them at the same time.

use std::{future::Future, pin::pin, task::Poll};

use super::*;

/// Runs two futures on one task, as `join!` does.
async fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(move |cx| {
        if first.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            second = Some(output);
        }
        if first.is_some() && second.is_some() {
            return Poll::Ready(first.take().zip(second.take()).expect("both are there"));
        }
        Poll::Pending
    })
    .await
}

/// Sends three large messages, each of which waits until the one before has left.
async fn count<S>(conn: &AsyncConn<S>, what: char) -> Result {
    for number in 0..3 {
        let text = format!("{what}{number}").repeat(20_000);
        conn.send(text).await?;
    }
    Ok(())
}

#[test]
fn two_functions_send_at_the_same_time() {
    async fn both(conn: &mut AsyncConn<u64>) -> Result {
        while conn.recv().await.is_some() {
            conn.state += 1;
            let lent = &*conn;
            let (a, b) = join(count(lent, 'a'), count(lent, 'b')).await;
            a.and(b)?;
            conn.send("done").await?;
        }
        Ok(())
    }

    let mut client = wsh::test::connect(wsh::descriptor!(async both));
    for _ in 0..2 {
        client.send("go");
        let mut seen: Vec<String> = Vec::new();
        loop {
            let text = client.receive().expect("a message").to_string();
            if text == "done" {
                break;
            }
            seen.push(text[..2].to_owned());
        }
        for what in ['a', 'b'] {
            let own: Vec<_> = seen.iter().filter(|it| it.starts_with(what)).collect();
            assert_eq!(
                own,
                [
                    &format!("{what}0"),
                    &format!("{what}1"),
                    &format!("{what}2")
                ]
            );
        }
    }
}

#[test]
fn a_helper_finds_what_the_function_attached() {
    struct User(String);

    async fn hello<S>(conn: &AsyncConn<S>) -> Result {
        let User(name) = conn.attached().ok_or("no user")?;
        conn.send(format!("hello {name}")).await?;
        Ok(())
    }

    async fn greet(conn: &mut AsyncConn<String>) -> Result {
        if conn.attached::<User>().is_none() {
            conn.attach(User(conn.state.clone()));
        }
        while let Some(name) = conn.recv().await {
            conn.state = name.to_string();
            conn.attach(User(conn.state.clone()));
            hello(conn).await?;
        }
        Ok(())
    }

    let mut client = wsh::test::connect(wsh::descriptor!(async greet));
    client.send("ann");
    assert_eq!(client.receive().unwrap(), "hello ann");
    assert!(client.migrate());
    client.send("ben");
    assert_eq!(client.receive().unwrap(), "hello ben");
}
