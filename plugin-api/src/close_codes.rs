//! The close codes that the server and this library use themselves (RFC 6455 §7.4.1 and the registry of IANA).
//!
//! The server and the host of [`test`](crate::test) take them from here. Authors write numbers.

/// The handler is done with the session.
pub const NORMAL: u16 = 1000;
/// The server stops, an operator has closed the session, or no message has come or gone for too long.
pub const GOING_AWAY: u16 = 1001;
/// The peer broke a rule of the framing.
pub const PROTOCOL_ERROR: u16 = 1002;
/// The Close frame had no code. Never sent: it stands for an empty body.
pub const NO_STATUS: u16 = 1005;
/// No Close frame was received. Never sent.
pub const ABNORMAL: u16 = 1006;
/// Text that is not UTF-8, or data that does not decompress.
pub const INVALID_DATA: u16 = 1007;
/// The peer, or what was sent to it, passed a limit other than the length of a message.
pub const POLICY_VIOLATION: u16 = 1008;
/// A message is longer than the limit.
pub const TOO_BIG: u16 = 1009;
/// The handler failed or panicked.
pub const INTERNAL_ERROR: u16 = 1011;
/// Newer code has replaced the handler and the session cannot move to it, or another process has taken the server's place.
pub const SERVICE_RESTART: u16 = 1012;
/// The handler has no thread for one more session, or memory is nearly spent.
pub const TRY_AGAIN_LATER: u16 = 1013;
