//! What handlers ask of the state that they share, on the server of `wsh::test`.

mod asynchronous;
mod callbacks;
mod events;
mod lists;
mod threads;

use std::time::{Duration, Instant};

use wsh::test::Client;

/// What a client has received by now.
fn texts(client: &mut Client) -> Vec<String> {
    std::iter::from_fn(|| client.try_receive())
        .map(|message| message.to_string())
        .collect()
}

/// Waits until something that a thread does has happened.
fn eventually(what: &str, mut has_happened: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !has_happened() {
        assert!(Instant::now() < until, "not within 10 s: {what}");
        std::thread::yield_now();
    }
}
