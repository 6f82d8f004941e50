//! What is queued, and the end of a connection.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::*;

/// A wire, and the far end of its socket.
fn pair() -> (Wire, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let near = std::net::TcpStream::from(OwnedFd::from(near));
    let socket = tokio::net::TcpStream::from_std(near).unwrap();
    (Wire::new(Transport::Plain(socket), Vec::new()), far)
}

#[tokio::test]
async fn what_the_peer_of_a_unix_socket_sent_before_its_close_is_still_to_be_read() {
    let (mut wire, mut far) = pair();
    far.write_all(b"last").unwrap();
    assert_eq!(wire.peer_end(), PeerEnd::No);
    far.shutdown(Shutdown::Write).unwrap();
    assert_eq!(wire.peer_end(), PeerEnd::Finished);

    drop(far);

    assert_eq!(wire.peer_end(), PeerEnd::Finished);
    let mut last = [0; 8];
    while wire.receive(&mut last) == Received::Nothing {
        let readable = std::future::poll_fn(|cx| wire.poll_readable(cx)).await;
        readable.unwrap();
    }
    assert_eq!(&last[..4], b"last");
    assert_eq!(wire.peer_end(), PeerEnd::Lost);
}

#[tokio::test]
async fn a_long_queue_gives_its_memory_back_while_a_slow_peer_takes_it() {
    const BYTES: usize = 16 * 1024 * 1024;
    let (mut wire, mut far) = pair();
    wire.put_raw(&vec![7; BYTES]);
    assert!(wire.buffered() > BYTES * 9 / 10 && wire.output.capacity() >= wire.buffered());

    let reader = std::thread::spawn(move || {
        let mut taken = Vec::new();
        far.read_to_end(&mut taken).unwrap();
        taken
    });
    while wire.buffered() > 0 {
        let writable = std::future::poll_fn(|cx| wire.poll_writable(cx));
        writable.await.unwrap();
        wire.flush();
        // As a session does: one send may have emptied the queue.
        wire.give_back();
        let (capacity, most) = (
            wire.output.capacity(),
            2 * wire.buffered() + 2 * COMPACT_BYTES,
        );
        assert!(capacity <= most, "{capacity} of {most}");
    }
    wire.close();
    assert!(reader.join().unwrap() == vec![7; BYTES]);
}
