//! `wshd top`: the server live on a terminal, until `q`.
//!
//! Each second it asks for the server in numbers, and draws what has changed since: rates, and how they went.

mod frame;
mod history;
mod screen;

use std::time::{Duration, Instant};

use self::frame::View;
use self::history::History;
use self::screen::{Key, Screen};
use super::client::{Client, NoAnswer};
use super::{FAILED, NO_SERVER, fail};

/// Draws until a key or a signal ends it, or the server is lost. Answers the exit code.
pub(super) fn top(client: &Client, interval: Duration) -> u8 {
    let mut screen = match Screen::open() {
        Ok(screen) => screen,
        Err(why) => return fail(FAILED, &why),
    };
    let end = draw(client, interval, &mut screen);
    // Before anything is said: what is written on the screen is gone with it.
    drop(screen);
    match end {
        Ok(code) => code,
        Err(NoAnswer::Refused(why)) => fail(FAILED, &why),
        Err(error) => fail(NO_SERVER, &error.to_string()),
    }
}

fn draw(client: &Client, interval: Duration, screen: &mut Screen) -> Result<u8, NoAnswer> {
    let mut history = History::default();
    let mut view = View {
        is_coloured: std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()),
        ..View::default()
    };
    let mut next = Instant::now();
    let mut is_stale = true;
    loop {
        let now = Instant::now();
        if now >= next {
            next = now + interval;
            match client.get_within("/snapshot", ANSWER_TIMEOUT) {
                Ok(snapshot) => {
                    view.is_silent = false;
                    history.add(&snapshot, Instant::now());
                }
                // A server that is very busy may come back.
                Err(NoAnswer::Late { .. }) => view.is_silent = true,
                Err(error) => return Err(error),
            }
            is_stale = true;
        }
        is_stale |= screen.note_size();
        if is_stale {
            let (columns, rows) = screen.size();
            view.fit(&history, rows);
            // The terminal may be gone, which the next key tells.
            let _ = screen.draw(&frame::lines(&history, &view, columns, rows));
            is_stale = false;
        }
        let wait = next.saturating_duration_since(Instant::now());
        match screen.key(wait.min(KEY_WAIT)) {
            Key::None => {}
            Key::Quit => return Ok(0),
            Key::Signal(number) => return Ok(128 + number),
            Key::Up => {
                view.first = view.first.saturating_sub(1);
                is_stale = true;
            }
            Key::Down => {
                view.first += 1;
                is_stale = true;
            }
        }
    }
}

/// How long a server may take to answer before the screen says that it does not.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the size of the terminal is looked at.
const KEY_WAIT: Duration = Duration::from_millis(100);
