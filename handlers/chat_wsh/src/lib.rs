#![forbid(unsafe_code)]
//! A chat in rooms: `/chat?room=tea&name=ann`, or `/rooms/tea?name=ann` with `"/rooms/{room}" = "/chat"`.
//!
//! Each message is a line of text, for people as for pages. `ann: hello` is a line of ann's. A line that begins with `* `
//! comes from the room itself. `/who` asks for the names in the room. With `history = 50` a new member sees 50 lines.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wsh::prelude::*;

struct Chat {
    /// How many lines a new member sees.
    history: usize,
    rooms: Arc<Rooms>,
}

impl Handler for Chat {
    type Session = Member;

    fn new(config: Config) -> Result<Self> {
        let history = config.get::<Option<usize>>("history")?.unwrap_or(50);
        if history > HISTORY_MAX {
            return Err(format!("`history` is at most {HISTORY_MAX}, found {history}").into());
        }
        let rooms = Arc::default();
        Ok(Chat { history, rooms })
    }

    fn handshake(&self, request: &Request, _: &mut Response) -> Result<Handshake> {
        if is_name(wanted_room(request)) && is_name(wanted_name(request)) {
            return Ok(Handshake::accept());
        }
        let rule = "a room or a name is 1 to 24 letters, digits or `_`\n";
        Ok(Handshake::reject(400, rule))
    }

    fn open(&self, conn: &mut Conn, request: &Request) -> Result<Member> {
        let room = wanted_room(request).to_string();
        let mut name = wanted_name(request).to_string();

        // The lock is held until everything is queued, so that no line is missed or comes twice.
        let mut rooms = self.rooms.lock();
        let here = rooms.entry(room.clone()).or_default();
        if here.names.contains(&name) {
            // A name from a query has no `-`, and no id is used twice, so this name is free.
            name = format!("{name}-{}", conn.id());
        }
        conn.subscribe(&room)?;
        for line in &here.said {
            conn.send(line)?;
        }
        here.names.insert(name.clone());
        // Nothing may fail from here on, because only `on_close` of the session removes the name again.
        let _ = conn.send(format!("* you are {name} in {room}; {}", here.who()));
        let _ = conn.publish_to_others(&room, format!("* {name} joined"));
        Ok(self.member(Membership { room, name }))
    }

    /// The history stays in the older generation. Members that stay there still get every line, because topics belong to
    /// all generations. Only `/who` lists the members of one generation.
    fn restore(&self, _: &mut Conn, state: &State) -> Result<Member> {
        let (room, name) = state.parse()?;
        let membership = Membership { room, name };
        let mut rooms = self.rooms.lock();
        let here = rooms.entry(membership.room.clone()).or_default();
        if !here.names.insert(membership.name.clone()) {
            return Err(
                format!("`{}` is the name of another client by now", membership.name).into(),
            );
        }
        Ok(self.member(membership))
    }
}

impl Chat {
    fn member(&self, membership: Membership) -> Member {
        Member {
            membership,
            history: self.history,
            rooms: Arc::clone(&self.rooms),
        }
    }
}

/// The state of a member that moves to newer code, as a pair.
struct Membership {
    room: String,
    name: String,
}

struct Member {
    membership: Membership,
    history: usize,
    rooms: Arc<Rooms>,
}

impl Session for Member {
    const SCHEMA: std::ops::RangeInclusive<u32> = 2..=2;

    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        let Some(text) = message.as_text().map(str::trim) else {
            conn.close(1003, "text only")?;
            return Ok(());
        };
        let Membership { room, name } = &self.membership;
        let mut rooms = self.rooms.lock();
        let here = rooms.entry(room.clone()).or_default();
        if text == "/who" {
            conn.send(format!("* {}", here.who()))?;
        } else if text.len() > LINE_BYTES_MAX {
            conn.send(format!("* not said: more than {LINE_BYTES_MAX} bytes"))?;
        } else if !text.is_empty() {
            // One message is one line, so that no member can write a second line that looks like the room's.
            let line = format!("{name}: {}", text.replace(char::is_control, " "));
            conn.publish(room, &line)?;
            here.said.push_back(line);
            let too_many = here.said.len().saturating_sub(self.history);
            here.said.drain(..too_many);
        }
        Ok(())
    }

    fn on_close(&mut self, _: &mut Conn, _: &Close) -> Result {
        let Membership { room, name } = &self.membership;
        let mut rooms = self.rooms.lock();
        let Some(here) = rooms.get_mut(room) else {
            return Ok(());
        };
        here.names.remove(name);
        let is_empty = here.names.is_empty();
        // A room is cheap to make, so an empty one is removed. The lobby is always there.
        if is_empty && room != LOBBY {
            rooms.remove(room);
        }
        wsh::publish(room, format!("* {name} left"))?;
        Ok(())
    }

    fn snapshot(&self, _: &Conn) -> Result<Snapshot<Self>> {
        let Membership { room, name } = &self.membership;
        Snapshot::json(&(room, name))
    }
}

/// The rooms of this generation.
#[derive(Default)]
struct Rooms(Mutex<BTreeMap<String, Room>>);

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Room>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

const LOBBY: &str = "lobby";
const LINE_BYTES_MAX: usize = 2_000;
/// The longest line. The history of a new member then stays well below the outbound limit.
const HISTORY_MAX: usize = 200;
const WHO_MAX: usize = 100;

wsh::handler!(Chat);
