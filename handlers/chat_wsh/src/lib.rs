#![forbid(unsafe_code)]
//! A chat in rooms: `/chat?room=tea&name=ann`, or `/rooms/tea?name=ann` with `"/rooms/{room}" = "/chat"`.
//!
//! Each message is a line of text, for people as for pages. `ann: hello` is a line of ann's. A line that begins with `* `
//! comes from the room itself. `/who` asks for the names in the room. With `history = 50` a new member sees 50 lines.
//!
//! A room is a topic. The server keeps its members, and as many lines as `[topics."chat/*"]` of its configuration says.

mod room;
#[cfg(test)]
mod tests;

use room::{here, join, wanted};
use wsh::prelude::*;

struct Chat {
    /// How many lines a new member sees.
    history: u64,
}

impl Shared for Chat {
    fn new(config: Config) -> Result<Self> {
        match config.get::<Option<u64>>("history")?.unwrap_or(50) {
            found @ 201.. => Err(format!("`history` is at most 200, found {found}").into()),
            history => Ok(Chat { history }),
        }
    }

    fn handshake(&self, request: &Request, _: &mut Response) -> Result<Handshake> {
        let refusal = "a room or a name is 1 to 24 letters, digits or `_`\n";
        Ok(wanted(request).map_or(Handshake::reject(400, refusal), |_| Handshake::accept()))
    }
}

impl Presence for Chat {
    fn presence(&self, change: &PresenceChange<'_>) -> Result<Option<MessageBuf>> {
        let has_left = change.kind == Change::Left;
        let news = if has_left { "left" } else { "joined" };
        Ok(Some(format!("* {} {news}", change.text()).into()))
    }
}

/// A member of a room. Its state is its name. Newer code finds the session still a member, and a subscriber.
async fn chat(conn: &mut AsyncConn<String>, request: &Request<'_>, chat: &Chat) -> Result {
    let (room, name) = wanted(request).ok_or("the handshake has let a wrong name in")?;
    if !conn.is_restored() {
        conn.state = join(conn, room, name, chat.history).await?;
    }
    while let Some(message) = conn.recv().await {
        let Some(text) = message.as_text().map(str::trim) else {
            return Ok(conn.close(1003, "text only")?);
        };
        // One message is one line, so that no member can write a second line that looks like the room's.
        let line = format!("{}: {}", conn.state, text.replace(changes_the_line, " "));
        match text {
            "" => {}
            "/who" => conn.send(format!("* {}", here(conn, room).await?)).await?,
            _ if text.len() > 2_000 => conn.send("* not said: more than 2000 bytes").await?,
            _ => drop(conn.publish(room, line)?),
        }
    }
    Ok(())
}

/// Whether a character breaks a line, steers a terminal, or changes the order in which the line is shown (UAX #9).
fn changes_the_line(letter: char) -> bool {
    let is_break_or_order = matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    letter.is_control() || is_break_or_order
}

wsh::handler!(async chat, shared = Chat);
