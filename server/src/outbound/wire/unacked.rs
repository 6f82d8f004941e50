//! The bytes that the kernel has taken to send and still holds.

#![allow(unsafe_code)] // No library has a safe function for this request.

use std::ffi::c_int;
use std::os::fd::AsRawFd;

/// The bytes in the send queue of a TCP socket that its peer has not acknowledged (`tcp(7)`, SIOCOUTQ);
/// 0 where the kernel does not say.
pub(crate) fn unacked(socket: &impl AsRawFd) -> u64 {
    let mut bytes: c_int = 0;
    // SAFETY: the request writes one `c_int`, which `bytes` is.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    match outcome {
        0 => bytes.try_into().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_the_peer_has_no_room_for_is_unacknowledged_until_it_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        assert_eq!(unacked(&near), 0);

        near.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(length) = near.write(&[7; 65_536]) {
            sent += length;
        }
        assert!(unacked(&near) > 0);

        let mut received = vec![0; sent];
        far.read_exact(&mut received).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while unacked(&near) > 0 {
            assert!(std::time::Instant::now() < deadline, "{}", unacked(&near));
            std::thread::yield_now();
        }
    }
}
