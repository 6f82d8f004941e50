//! What must hold of TLS in pieces of any size, and a check of it with a script that says which bytes move when.
//!
//! The server's side faces a client of rustls. The kernel has little room between them, so that records come and leave
//! in parts. What one side says the other gets: once, whole and in its order. After a forged record it gets no more
//! than a beginning of that. For tests and fuzzing only.

mod script;
mod setup;
mod sides;

use std::future::poll_fn;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::runtime::Runtime;

use self::script::{Script, Step};
use self::setup::pair;
use self::sides::{Client, Server};
use super::HandshakeFault;

/// Makes a handshake and sends messages as the script says. Panics if a promise breaks.
pub(crate) fn check(script: &[u8]) {
    runtime().block_on(run(Script(script)));
}

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    runtime.expect("a runtime")
}

async fn run(mut script: Script<'_>) {
    let flags = script.byte();
    let room = usize::from(script.byte()) * 256;
    let (mut client, mut server) = pair(flags, room);
    if !shake_hands(&mut client, &mut server, &mut script).await {
        assert!(client.has_forged, "the handshake fails");
        return;
    }
    while let Some(step) = script.step() {
        turn().await;
        client.take(&step);
        server.take(&step, client.has_forged);
    }
    finish(&mut client, &mut server).await;
}

/// Sends bytes that claim to begin a handshake, in pieces. What begins no record is known by its first byte, and the
/// rest makes no handshake. Panics if a promise breaks.
pub(crate) fn check_first_bytes(bytes: &[u8]) {
    runtime().block_on(async {
        let mut script = Script(bytes);
        let step = usize::from(script.byte()) + 1;
        let (mut client, mut server) = pair(0, 64 * 1024);
        client.has_forged = true;
        let mut received = Vec::new();
        let outcome = {
            let mut handshake = pin!(server.tls.handshake(&mut received));
            let mut pieces = script.0.chunks(step);
            loop {
                if let Some(outcome) = poll_once(handshake.as_mut()).await {
                    break outcome;
                }
                match pieces.next() {
                    Some(piece) => client.outgoing.extend_from_slice(piece),
                    // It sees the end when it has read what is before.
                    None => drop(client.socket.shutdown(Shutdown::Write)),
                }
                client.send(usize::MAX);
                turn().await;
            }
        };
        let begins_a_record = script.0.first().is_none_or(|first| *first == 0x16);
        let is_no_tls = matches!(outcome, Err(HandshakeFault::NotTls));
        assert_eq!(is_no_tls, !begins_a_record);
        assert!(
            outcome.is_err() && received.is_empty(),
            "a handshake of nothing"
        );
    });
}

/// Completes the handshake, and all steps until then. False if it fails.
async fn shake_hands(client: &mut Client, server: &mut Server, script: &mut Script<'_>) -> bool {
    let mut early = Vec::new();
    let mut outcome: Option<Result<(), HandshakeFault>> = None;
    {
        let mut handshake = pin!(server.tls.handshake(&mut early));
        let mut rounds = 0;
        while outcome.is_none() || client.connection.is_handshaking() && !client.is_over {
            match script.step() {
                Some(step) => client.take(&step),
                None => {
                    client.take(&Step::ClientSends(usize::MAX));
                    client.take(&Step::ClientReceives(usize::MAX));
                    rounds += 1;
                }
            }
            turn().await;
            if outcome.is_none() {
                outcome = poll_once(handshake.as_mut()).await;
            }
            if rounds > ROUNDS_MAX {
                assert!(client.has_forged, "the handshake does not end");
                return false;
            }
            if matches!(outcome, Some(Err(_))) {
                return false;
            }
        }
    }
    server.heard.take(&early);
    !client.is_over
}

/// Lets the runtime see what the sockets have become ready for.
#[allow(
    clippy::disallowed_methods,
    reason = "no callback holds the thread of this test"
)]
async fn turn() {
    tokio::task::yield_now().await;
}

/// The outcome of a future, if it is there already.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Moves all that is left, and compares what both sides have said and heard.
async fn finish(client: &mut Client, server: &mut Server) {
    let all = usize::MAX;
    let mut rounds = 0;
    while !client.is_over && !server.is_over && rounds < ROUNDS_MAX {
        let before = (client.moved, server.heard.bytes, server.unsent.len());
        turn().await;
        client.take(&Step::ClientSends(all));
        server.take(&Step::ServerReceives, client.has_forged);
        server.take(&Step::ServerSends, client.has_forged);
        client.take(&Step::ClientReceives(all));
        let is_still = before == (client.moved, server.heard.bytes, server.unsent.len());
        rounds = if is_still { rounds + 1 } else { 0 };
        let is_done = server.heard.bytes == client.said.bytes
            && client.heard.bytes == server.said.bytes
            && client.outgoing.is_empty();
        if is_done && is_still {
            break;
        }
    }
    if client.has_forged {
        return;
    }
    assert_eq!(server.heard.bytes, client.said.bytes, "what the server got");
    assert_eq!(client.heard.bytes, server.said.bytes, "what the client got");
    assert_eq!(server.tls.incoming.capacity(), 0, "a buffer is kept");
    assert_eq!(server.tls.unsent.capacity(), 0, "a buffer is kept");

    server.tls.finish();
    client.take(&Step::ClientReceives(all));
    assert!(client.is_over, "the end is not said");
}

/// Turns in which nothing moves, after which nothing will.
const ROUNDS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::{check, check_first_bytes};
    use crate::testing::seeds::for_seeds;

    #[test]
    fn what_one_side_says_the_other_gets_once_whole_and_in_order() {
        for_seeds(0..80, |dice| {
            let length = dice.below(400) as usize;
            let mut script: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
            // Most scripts are without a forged record, so that they are compared to the end.
            if dice.below(10) != 0 {
                for byte in &mut script {
                    *byte = (*byte).min(254);
                }
            }
            check(&script);
        });
    }

    #[test]
    fn bytes_that_are_no_handshake_make_none_in_any_pieces() {
        for_seeds(0..40, |dice| {
            let length = dice.below(2_000) as usize;
            let mut bytes: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
            // A record of the handshake that is as long as it says, and one that never ends.
            let header = match dice.below(3) {
                0 => [0x16, 3, 1, (length >> 8) as u8, length as u8],
                1 => [0x16, 3, 1, 0x3f, 0xff],
                _ => [dice.below(256) as u8, 0, 0, 0, 0],
            };
            bytes.splice(0..0, header);
            bytes.insert(0, dice.below(256) as u8);
            check_first_bytes(&bytes);
        });
    }
}
