//! What a peer can do wrong after the 101, and the close code it is answered with.

/// A rule that the peer broke. The session ends with one Close frame.
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
    /// Whether the peer's frames can still be told apart: what is wrong is what they carry, or how
    /// much.
    pub(crate) fn leaves_frames_whole(self) -> bool {
        matches!(self.close_code(), 1007..=1009)
    }

    /// RFC 6455 §7.4.1.
    pub(crate) fn close_code(self) -> u16 {
        match self {
            Violation::Unmasked
            | Violation::ReservedBit
            | Violation::ReservedOpcode(_)
            | Violation::LengthForm
            | Violation::ControlFrame
            | Violation::NothingToContinue
            | Violation::MessageInsideMessage
            | Violation::CloseBody => 1002,
            Violation::Utf8 | Violation::Compression => 1007,
            Violation::TooManyFragments => 1008,
            Violation::TooBig => 1009,
        }
    }
}
