//! What moves when, as bytes say it.

/// What happens next.
#[derive(Debug)]
pub(super) enum Step {
    /// So many bytes of plaintext are given to the client's TLS.
    ClientSays(usize),
    /// At most so many bytes of its ciphertext go into the socket.
    ClientSends(usize),
    ClientReceives(usize),
    ClientChangesKeys,
    /// This byte of its ciphertext is changed, or one is added.
    Forged(usize, u8),
    ServerReceives,
    ServerSays(usize),
    ServerSends,
}

/// The steps that bytes stand for.
pub(super) struct Script<'a>(pub(super) &'a [u8]);

impl Script<'_> {
    /// The next byte, or else 0.
    pub(super) fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    /// A few bytes, or up to 90 KB.
    fn length(&mut self) -> usize {
        match usize::from(self.byte()) {
            few @ 0..128 => few,
            many => (many - 127) * 700,
        }
    }

    pub(super) fn step(&mut self) -> Option<Step> {
        let kind = *self.0.split_off_first()?;
        Some(match kind % 32 {
            0..4 => Step::ClientSays(self.length()),
            4..10 => Step::ClientSends(self.length()),
            10..15 => Step::ServerReceives,
            15..19 => Step::ServerSays(self.length()),
            19..24 => Step::ServerSends,
            24..30 => Step::ClientReceives(self.length()),
            30 => Step::ClientChangesKeys,
            // Rare, since nothing is compared to its end behind it.
            _ if kind == 255 => Step::Forged(self.length(), self.byte()),
            _ => Step::ServerSends,
        })
    }
}
