#![forbid(unsafe_code)]
//! Rooms to talk in: `/chat?room=tea&name=ann`, or `/rooms/tea?name=ann` with `"/rooms/{room}" = "/chat"`.
//!
//! Everything is a line of text, for people as for pages: `ann: hello` is ann's, and what begins
//! with `* ` is the room's own. `/who` asks who is here. `history = 50` is how much a newcomer sees.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use wsh::State;
use wsh::prelude::*;

struct Chat;

impl Handler for Chat {
    type Session = Member;

    fn new(config: Config) -> Result<Self> {
        let history = config.get::<Option<usize>>("history")?.unwrap_or(50);
        if history > HISTORY_MAX {
            return Err(format!("`history` is at most {HISTORY_MAX}, found {history}").into());
        }
        HISTORY.store(history, Ordering::Relaxed);
        Ok(Chat)
    }

    fn handshake(&self, request: &Request, _: &mut Response) -> Handshake {
        if is_name(wanted_room(request)) && is_name(wanted_name(request)) {
            Handshake::accept()
        } else {
            Handshake::reject(400, "a room or a name is 1 to 24 letters, digits or `_`\n")
        }
    }

    fn open(&self, conn: &mut Conn, request: &Request) -> Member {
        let room = wanted_room(request).to_string();
        let mut name = wanted_name(request).to_string();

        // The lock is held until everything is queued, so that no line is missed or comes twice.
        let mut rooms = rooms();
        let here = rooms.entry(room.clone()).or_default();
        if here.names.contains(&name) {
            // No name has a `-` of its own and no id comes again: nobody else is called this.
            name = format!("{name}-{}", conn.id());
        }
        here.names.insert(name.clone());
        conn.subscribe(&room);
        for line in &here.said {
            conn.send(line);
        }
        conn.send(format!("* you are {name} in {room}; {}", here.who()));
        conn.publish_to_others(&room, format!("* {name} joined"));
        Member { room, name }
    }
}

#[derive(Serialize, Deserialize)]
struct Member {
    room: String,
    name: String,
}

impl Session for Member {
    const SCHEMA: std::ops::RangeInclusive<u32> = 1..=1;

    fn on_message(&mut self, conn: &mut Conn, message: Message) {
        let Some(text) = message.as_text().map(str::trim) else {
            conn.close(1003, "text only");
            return;
        };
        let mut rooms = rooms();
        let here = rooms.entry(self.room.clone()).or_default();
        if text == "/who" {
            conn.send(format!("* {}", here.who()));
        } else if text.len() > LINE_BYTES_MAX {
            conn.send(format!("* not said: more than {LINE_BYTES_MAX} bytes"));
        } else if !text.is_empty() {
            // One line is one message: nobody can write a second one that looks like the room's.
            let line = format!("{}: {}", self.name, text.replace(char::is_control, " "));
            conn.publish(&self.room, &line);
            here.said.push_back(line);
            let too_many = here
                .said
                .len()
                .saturating_sub(HISTORY.load(Ordering::Relaxed));
            here.said.drain(..too_many);
        }
    }

    fn on_close(&mut self, _: Close) {
        let mut rooms = rooms();
        let Some(here) = rooms.get_mut(&self.room) else {
            return;
        };
        here.names.remove(&self.name);
        wsh::publish(&self.room, format!("* {} left", self.name));
        // Rooms cost nothing to make, so an empty one is forgotten; the lobby is always there.
        if here.names.is_empty() && self.room != LOBBY {
            rooms.remove(&self.room);
        }
    }

    fn snapshot(&self) -> Option<State> {
        State::json(self)
    }

    fn restore(state: &State) -> Result<Self> {
        let member: Member = state.parse()?;
        let mut rooms = rooms();
        let here = rooms.entry(member.room.clone()).or_default();
        if !here.names.insert(member.name.clone()) {
            return Err(format!("somebody else is `{}` by now", member.name).into());
        }
        Ok(member)
    }
}

#[derive(Default)]
struct Room {
    names: BTreeSet<String>,
    said: VecDeque<String>,
}

impl Room {
    fn who(&self) -> String {
        let shown: Vec<&str> = self
            .names
            .iter()
            .take(WHO_MAX)
            .map(String::as_str)
            .collect();
        let more = self.names.len() - shown.len();
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        format!("here: {}{more}", shown.join(", "))
    }
}

/// The rooms of this generation: a new one has a library, and so statics, of its own. Members who
/// move to it sign in again in `restore`, and what was said stays behind. Those who do not move
/// still hear everybody, for topics belong to all generations; only `/who` does not see across.
fn rooms() -> MutexGuard<'static, BTreeMap<String, Room>> {
    static ROOMS: Mutex<BTreeMap<String, Room>> = Mutex::new(BTreeMap::new());
    ROOMS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wanted_room<'a>(request: &'a Request) -> &'a str {
    request
        .param("room")
        .or(request.query("room"))
        .unwrap_or(LOBBY)
}

fn wanted_name<'a>(request: &'a Request) -> &'a str {
    request.query("name").unwrap_or("guest")
}

fn is_name(text: &str) -> bool {
    (1..=24).contains(&text.chars().count())
        && text
            .chars()
            .all(|letter| letter.is_alphanumeric() || letter == '_')
}

/// How many lines a newcomer sees.
static HISTORY: AtomicUsize = AtomicUsize::new(0);

const LOBBY: &str = "lobby";
const LINE_BYTES_MAX: usize = 2_000;
/// With lines of that length, what a newcomer gets stays well below what may wait for a session.
const HISTORY_MAX: usize = 200;
const WHO_MAX: usize = 100;

wsh::handler!(Chat);
