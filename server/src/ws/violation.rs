//! What a peer can do wrong after the 101, and the close code it is answered with.

use wsh::close_codes;

/// A rule that the peer broke. It ends the session with one Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// RFC 6455 §5.1: a client masks every frame.
    #[error("a frame came unmasked")]
    Unmasked,
    /// RFC 6455 §5.2: a reserved bit means something only if an extension says so.
    #[error("a reserved bit is set and no extension gives it a meaning")]
    ReservedBit,
    /// RFC 6455 §5.2: opcodes 3–7 and B–F.
    #[error("opcode {0:#x} is reserved")]
    ReservedOpcode(u8),
    /// RFC 6455 §5.2: the shortest form, and the most significant bit 0.
    #[error("a payload length is not in its shortest form")]
    LengthForm,
    /// RFC 6455 §5.5.
    #[error("a control frame is fragmented or longer than 125 bytes")]
    ControlFrame,
    /// RFC 6455 §5.4.
    #[error("a continuation came and no message is open")]
    NothingToContinue,
    /// RFC 6455 §5.4.
    #[error("a new message began inside another one")]
    MessageInsideMessage,
    /// RFC 6455 §5.5.1 and §7.4: a body of one byte, or a code that must not be sent.
    #[error("a Close frame's body is malformed or its code must not be sent")]
    CloseBody,
    /// RFC 6455 §8.1.
    #[error("text is not UTF-8")]
    Utf8,
    /// RFC 7692 §7.2.2.
    #[error("a compressed message does not inflate")]
    Compression,
    /// RFC 6455 §10.4.
    #[error("a message is larger than the limit")]
    TooBig,
    /// RFC 6455 §10.4.
    #[error("a message has more fragments than the limit")]
    TooManyFragments,
}

impl Violation {
    /// Whether the frames that follow can be told apart: the fault is in what a frame carries, or in how
    /// much, not in its header.
    pub(crate) fn leaves_frames_whole(self) -> bool {
        matches!(
            self.close_code(),
            close_codes::INVALID_DATA | close_codes::POLICY_VIOLATION | close_codes::TOO_BIG
        )
    }

    /// The code of the Close frame that answers it (RFC 6455 §7.4.1).
    pub(crate) fn close_code(self) -> u16 {
        match self {
            Violation::Unmasked
            | Violation::ReservedBit
            | Violation::ReservedOpcode(_)
            | Violation::LengthForm
            | Violation::ControlFrame
            | Violation::NothingToContinue
            | Violation::MessageInsideMessage
            | Violation::CloseBody => close_codes::PROTOCOL_ERROR,
            Violation::Utf8 | Violation::Compression => close_codes::INVALID_DATA,
            Violation::TooManyFragments => close_codes::POLICY_VIOLATION,
            Violation::TooBig => close_codes::TOO_BIG,
        }
    }
}
