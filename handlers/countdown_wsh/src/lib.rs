#![forbid(unsafe_code)]
//! Counts down by a timer: `3` is answered by `3`, and by `2`, `1` and `0` a second apart. A new number begins anew.
//!
//! Timers move to newer code with their session. The number moves as the state that `snapshot` writes, so a countdown goes
//! on while its code is replaced.

use std::{ops::RangeInclusive, time::Duration};

use wsh::prelude::*;

#[derive(Default)]
struct Countdown {
    left: u64,
}

impl Session for Countdown {
    // Newer code that writes another state adds a number here, and reads the old one as long as it likes.
    const SCHEMA: RangeInclusive<u32> = 1..=1;

    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        match message.as_text().map(str::parse) {
            Some(Ok(number)) => {
                self.left = number;
                self.tell(conn)
            }
            _ => Ok(conn.send("a whole number, please").map(drop)?),
        }
    }

    fn on_timer(&mut self, conn: &mut Conn, _token: u64) -> Result {
        self.left -= 1;
        self.tell(conn)
    }

    fn snapshot(&self, _: &Conn) -> Result<Snapshot<Self>> {
        Snapshot::json(&self.left)
    }

    fn restore(_: &mut Conn, state: &State) -> Result<Self> {
        let left = state.parse()?;
        Ok(Countdown { left })
    }
}

impl Countdown {
    fn tell(&self, conn: &Conn) -> Result {
        conn.send(self.left.to_string())?;
        // The timer replaces one that still runs for an earlier number.
        match self.left {
            0 => conn.cancel_timer(NEXT)?,
            _ => conn.timer(NEXT, Duration::from_secs(1))?,
        }
        Ok(())
    }
}

/// The token of the only timer. It means one thing in every version of the code.
const NEXT: u64 = 1;

wsh::handler!(Countdown);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_countdown_goes_on_in_newer_code_and_begins_anew_when_it_is_told() {
        let mut client = wsh::test::connect(&WSH_HANDLER);
        client.send("3");
        assert_eq!(client.receive().unwrap(), "3");

        // The clock of a test stands still until the test moves it.
        client.advance(Duration::from_millis(999));
        assert_eq!(client.try_receive(), None);
        assert!(client.migrate());
        client.advance(Duration::from_millis(1));
        assert_eq!(client.receive().unwrap(), "2");

        client.send("1");
        assert_eq!(client.receive().unwrap(), "1");
        client.advance(Duration::from_secs(10));
        assert_eq!(client.receive().unwrap(), "0");
        assert_eq!(client.try_receive(), None);
    }

    #[test]
    fn zero_ends_a_countdown() {
        let mut client = wsh::test::connect(&WSH_HANDLER);
        client.send("5");
        client.send("0");
        client.send("zero");
        client.advance(Duration::from_secs(10));

        let heard = [(); 3].map(|()| client.receive().unwrap().to_string());
        assert_eq!(heard, ["5", "0", "a whole number, please"]);
        assert_eq!(client.try_receive(), None);
    }
}
