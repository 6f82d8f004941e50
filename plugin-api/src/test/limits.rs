//! The limits of the host of a test: the defaults of a server's configuration.

/// How many bytes may wait for a peer, and in the mailbox of its session.
pub(super) const OUTBOUND_BYTES_MAX: u64 = 1024 * 1024;
/// What happens to a message that passes the limit of what may wait for a client: the key `outbound_policy`. See
/// [`Server::set_outbound_policy`](super::Server::set_outbound_policy).
///
/// ```
/// # use wsh::{prelude::*, test::OutboundPolicy};
/// #[derive(Default)]
/// struct Ticker;
///
/// impl Session for Ticker {
///     fn on_message(&mut self, conn: &mut Conn, _message: Message) -> Result {
///         for tick in 0..100_u8 {
///             conn.send(&[tick; 65536])?;
///         }
///         Ok(())
///     }
/// }
/// let server = wsh::test::serve(wsh::descriptor!(Ticker));
/// server.set_outbound_policy(OutboundPolicy::DropOldest);
/// let mut client = server.connect();
/// client.stall();
/// client.send("begin");
/// client.resume();
/// let newest = std::iter::from_fn(|| client.receive()).last();
/// assert_eq!(newest.unwrap().as_bytes()[0], 99);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutboundPolicy {
    /// Its session closes with 1008.
    #[default]
    Close,
    /// It is dropped.
    DropNew,
    /// The oldest messages that wait are dropped.
    DropOldest,
}

/// How many timers a session may have.
pub(super) const TIMERS_MAX: usize = 64;
/// How many topics a session may have.
pub(super) const TOPICS_MAX: usize = 256;
/// How many threads a handler may have.
pub(super) const THREADS_MAX: usize = 1024;
/// How many bytes a session's state may have.
pub(super) const SNAPSHOT_BYTES_MAX: usize = 1024 * 1024;

/// How many asks of a session may wait for their answers.
pub(super) const SESSION_ASKS_MAX: usize = 64;
/// How many asks of the handler itself may wait for their answers.
pub(super) const ASKS_MAX: usize = 1024;
/// How many bytes of keys and values a handler may keep.
pub(super) const STORE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many bytes one kept value may have.
pub(super) const STORE_VALUE_BYTES_MAX: usize = 64 * 1024;
/// How many bytes a member may say of itself.
pub(super) const PRESENCE_VALUE_BYTES_MAX: usize = 1024;
/// How many bytes all members may say of themselves.
pub(super) const PRESENCE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The length of a server's frame with a payload of this length (RFC 6455 §5.2).
pub(super) fn frame_len(payload: usize) -> u64 {
    let header = match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    header + payload as u64
}
