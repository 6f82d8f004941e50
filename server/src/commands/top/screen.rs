//! The terminal: taken over when it opens, and as it was before when it is dropped.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::{flag, low_level};

/// A terminal that is drawn on.
pub(super) struct Screen {
    /// How the terminal was set before.
    before: Termios,
    size: (u16, u16),
    /// The signal that has come; 0 is none.
    signal: Arc<AtomicUsize>,
    signals: Vec<signal_hook::SigId>,
}

/// What an operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    None,
    Quit,
    Up,
    Down,
    /// A signal wants the program to end.
    Signal(u8),
}

impl Screen {
    /// # Errors
    ///
    /// Stdin or stdout is no terminal, or the system refuses: a sentence.
    pub(super) fn open() -> Result<Screen, String> {
        for (is_terminal, name) in [
            (io::stdin().is_terminal(), "stdin"),
            (io::stdout().is_terminal(), "stdout"),
        ] {
            if !is_terminal {
                return Err(format!(
                    "`wshd top` draws on a terminal, and {name} is none; `wshd top --json` prints the numbers once"
                ));
            }
        }
        let sentence = |error: io::Error| format!("cannot draw on this terminal: {error}");
        let before = tcgetattr(io::stdin()).map_err(|it| sentence(it.into()))?;
        let mut screen = Screen {
            before,
            size: (0, 0),
            signal: Arc::default(),
            signals: Vec::new(),
        };
        // From here on the drop restores what was changed.
        for number in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
            let noted = flag::register_usize(number, screen.signal.clone(), number as usize);
            screen.signals.push(noted.map_err(sentence)?);
        }
        let mut raw = screen.before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Flush, &raw).map_err(|it| sentence(it.into()))?;
        write(ENTER).map_err(sentence)?;
        screen.note_size();
        Ok(screen)
    }

    /// Looks how large the terminal is. True if that has changed.
    pub(super) fn note_size(&mut self) -> bool {
        let found = tcgetwinsize(io::stdout()).ok();
        // A terminal that does not know its size has none.
        let found = found.filter(|it| it.ws_col > 0 && it.ws_row > 0);
        let size = found.map_or((80, 24), |it| (it.ws_col, it.ws_row));
        std::mem::replace(&mut self.size, size) != size
    }

    /// The columns and the rows.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.size.0.into(), self.size.1.into())
    }

    /// Replaces what is on the screen.
    pub(super) fn draw(&self, lines: &[String]) -> io::Result<()> {
        write(&page(lines, self.size().1))
    }

    /// Waits for a key.
    pub(super) fn key(&self, limit: Duration) -> Key {
        let limit = Timespec::try_from(limit).ok();
        let stdin = io::stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        let ready = poll(&mut fds, limit.as_ref());
        match self.signal.load(Ordering::Relaxed) {
            0 => {}
            number => return Key::Signal(u8::try_from(number).unwrap_or(1)),
        }
        if !matches!(ready, Ok(1..)) {
            return Key::None;
        }
        let mut bytes = [0; 32];
        match rustix::io::read(stdin.as_fd(), &mut bytes) {
            // The terminal is gone.
            Ok(0) | Err(rustix::io::Errno::IO) => Key::Quit,
            Ok(length) => key_of(&bytes[..length]),
            Err(_) => Key::None,
        }
    }
}

/// What the bytes of a key mean.
fn key_of(bytes: &[u8]) -> Key {
    match bytes {
        // Ctrl-C and Ctrl-D are no signals in this mode.
        [b'q' | b'Q' | 3 | 4, ..] | b"\x1b" => Key::Quit,
        b"\x1b[A" | b"\x1bOA" | [b'k', ..] => Key::Up,
        b"\x1b[B" | b"\x1bOB" | [b'j', ..] => Key::Down,
        _ => Key::None,
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write(LEAVE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
        for signal in self.signals.drain(..) {
            low_level::unregister(signal);
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The other screen, without a cursor, on which lines do not wrap.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// What replaces a screen of so many rows by these lines.
///
/// What stood on a line is erased before the line is written: behind a line of the screen's whole width, the terminal would
/// erase its last character.
fn page(lines: &[String], rows: usize) -> String {
    let mut text = String::from("\x1b[H");
    for (row, line) in lines.iter().enumerate() {
        let begin = if row > 0 { "\r\n" } else { "" };
        text += &format!("{begin}\x1b[K{line}\x1b[0m");
    }
    if lines.len() < rows {
        text += "\r\n\x1b[J";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_mean_nothing_do_nothing() {
        for (bytes, expected) in [
            (&b"q"[..], Key::Quit),
            (b"\x03", Key::Quit),
            (b"\x1b", Key::Quit),
            (b"\x1b[A", Key::Up),
            (b"j", Key::Down),
            (b"\x1b[5~", Key::None),
            (b"x", Key::None),
            (b"", Key::None),
        ] {
            assert_eq!(key_of(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn nothing_is_erased_behind_a_line() {
        let lines = ["one", "two"].map(str::to_owned);
        let full = "\x1b[H\x1b[Kone\x1b[0m\r\n\x1b[Ktwo\x1b[0m";
        assert_eq!(page(&lines, 2), full);
        assert_eq!(page(&lines, 3), format!("{full}\r\n\x1b[J"));
    }
}
