use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::*;
use crate::sessions::mailbox::Undelivered;
use crate::sessions::mailbox::letter::Letters;
use crate::sessions::prepared_message::PreparedMessage;
use crate::ws::frame;

/// A mailbox whose session sleeps and has offered its socket, and the peer's end of that.
struct Sleeper {
    mailbox: Mailbox,
    _socket: TcpStream,
    peer: TcpStream,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Sleeper {
    fn new(bytes_max: usize) -> Sleeper {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let mailbox = Mailbox::new(1, Arc::from("chat"), 1, bytes_max);
        let woken = Arc::new(Woken::default());
        mailbox.listen(&Waker::from(woken.clone()));
        mailbox.offer_wire(socket.as_raw_fd(), Form::PLAIN);
        Sleeper {
            mailbox,
            _socket: socket,
            peer,
            woken,
        }
    }

    /// The bytes that others have sent in its place.
    fn sent(&self) -> u64 {
        self.mailbox.traffic.bytes_out()
    }

    fn wakes(&self) -> usize {
        self.woken.0.load(Ordering::Relaxed)
    }

    fn send(&self, frames: &[u8], messages: usize) -> bool {
        let wire = self.mailbox.borrow_wire();
        wire.is_some_and(|wire| wire.send(frames, messages))
    }

    /// Sends until the kernel takes no more. Returns what was sent, with the rest that was left.
    fn fill(&self, messages: usize) -> Vec<u8> {
        // 251 divides no length of a block, so a byte says where it belongs.
        let numbers = (0..251).collect::<Vec<u8>>().repeat(201);
        let mut all = Vec::new();
        while self.wakes() == 0 {
            let block = &numbers[all.len() % 251..][..50_000];
            assert!(self.send(block, messages) || self.wakes() == 0);
            all.extend_from_slice(block);
        }
        all
    }
}

fn letter(payload: &[u8]) -> Letter {
    Letter::Send(PreparedMessage::new(frame::BINARY, payload, false))
}

#[test]
fn what_others_send_while_a_session_sleeps_arrives_wakes_nothing_and_is_counted() {
    let mut sleeper = Sleeper::new(1_000);

    assert!(sleeper.send(b"one", 1) && sleeper.send(b"two", 1));

    let mut text = [0; 6];
    sleeper.peer.read_exact(&mut text).unwrap();
    assert_eq!((&text, sleeper.wakes()), (b"onetwo", 0));
    assert_eq!(sleeper.mailbox.reclaim_wire(), Reclaimed::Yes);
    assert!(!sleeper.send(b"three", 1), "the session runs");
    assert_eq!(sleeper.mailbox.reclaim_wire(), Reclaimed::Yes);
    assert_eq!(sleeper.sent(), 6);
}

#[test]
fn a_letter_that_waits_is_not_overtaken() {
    let sleeper = Sleeper::new(1_000);
    sleeper.mailbox.post(letter(b"first")).unwrap();

    assert!(!sleeper.send(b"second", 1));

    assert_eq!(sleeper.mailbox.reclaim_wire(), Reclaimed::Yes);
    assert_eq!(sleeper.sent(), 0);
    let mut letters: Letters = None;
    assert!(sleeper.mailbox.take(&mut letters, false).is_some());
    assert_eq!(letters.map(|letters| letters.len()), Some(1));
}

#[test]
fn what_the_kernel_does_not_take_is_the_first_letter_and_nothing_is_sent_twice() {
    let mut sleeper = Sleeper::new(100_000);
    sleeper.peer.set_nonblocking(true).unwrap();

    let all = sleeper.fill(1);
    sleeper.mailbox.post(letter(b"later")).unwrap();

    assert_eq!(sleeper.wakes(), 2);
    assert_eq!(sleeper.mailbox.reclaim_wire(), Reclaimed::WithRest);
    let rest = sleeper.mailbox.take_rest().unwrap();
    assert_eq!(sleeper.sent() as usize + rest.len(), all.len());
    let mut received = Vec::new();
    // An error says that nothing more has come.
    let _ = sleeper.peer.read_to_end(&mut received);
    received.extend_from_slice(&rest);
    assert!(received == all, "{} of {}", received.len(), all.len());
    assert_eq!(sleeper.mailbox.take_rest(), None);
    let mut letters: Letters = None;
    let post = sleeper.mailbox.take(&mut letters, false).unwrap();
    assert!(!post.overflowed);
    assert_eq!(letters.map(|letters| letters.len()), Some(1));
}

#[test]
fn a_rest_counts_against_the_limit_and_one_of_several_messages_may_be_past_it() {
    let ends = Err(Undelivered::Gone);
    for (messages, overflows, posted) in [(1, false, Err(Undelivered::Full)), (2, true, ends)] {
        let sleeper = Sleeper::new(10);

        sleeper.fill(messages);

        assert_eq!(sleeper.mailbox.post(letter(b"more")), posted);
        sleeper.mailbox.reclaim_wire();
        assert!(sleeper.mailbox.take_rest().is_some());
        assert_eq!(sleeper.mailbox.post(letter(b"more")).is_err(), overflows);
        let post = sleeper.mailbox.take(&mut None, false).unwrap();
        assert_eq!(post.overflowed, overflows, "{messages} messages");
    }
}

#[test]
fn a_session_that_is_polled_during_a_send_is_woken_after_it() {
    let sleeper = Sleeper::new(1_000);
    let wire = sleeper.mailbox.borrow_wire().unwrap();
    assert_eq!(sleeper.mailbox.reclaim_wire(), Reclaimed::NotYet);
    assert_eq!(sleeper.wakes(), 0);

    assert!(wire.send(b"sent", 1));

    assert_eq!(sleeper.wakes(), 1);
    assert!(!sleeper.send(b"more", 1), "the session comes first");
    assert_eq!(sleeper.mailbox.reclaim_wire(), Reclaimed::WithRest);
    assert_eq!(sleeper.sent(), 4);
    assert_eq!(sleeper.mailbox.take_rest(), None);
}

#[test]
fn a_lost_connection_is_left_to_the_session() {
    let sleeper = Sleeper::new(1_000);
    let Sleeper { mailbox, peer, .. } = &sleeper;
    rustix::net::shutdown(peer, rustix::net::Shutdown::Both).unwrap();
    // The second send finds the connection reset, at the latest when the first has been answered.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while sleeper.send(b"lost", 1) {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }

    assert_eq!(mailbox.reclaim_wire(), Reclaimed::Yes);
    assert_eq!(sleeper.wakes(), 0);
}
