//! The members of a room, and the names that they have there.

use wsh::prelude::*;

/// The room and the name that a request asks for, if they may be used.
pub(crate) fn wanted<'a>(request: &'a Request) -> Option<(&'a str, &'a str)> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let is_name = |text: &str| matches!(text.chars().count(), 1..=24) && text.chars().all(is_part);
    let room = request.param("room").or(request.query("room"));
    let (room, name) = (room.unwrap_or("lobby"), request.query("name"));
    Some((room, name.unwrap_or("guest"))).filter(|(room, name)| is_name(room) && is_name(name))
}

/// Enters a room and answers the name that the member has there.
pub(crate) async fn join(
    conn: &AsyncConn<String>,
    room: &str,
    name: &str,
    history: u64,
) -> Result<String> {
    // Of two sessions that claim a name at once, one at least sees the claim of the other.
    let claims = format!("claims in {room}");
    conn.enter(&claims, name).await?;
    // Claims are read first: a session that takes its claim back is a member of the room by then.
    let mut same = conn.members(&claims).await?;
    same.extend(conn.members(room).await?);
    same.retain(|it| it.text() == name);
    // A name from a query has no `-`, and no id is used twice, so a name with a number is free.
    let number = format!("-{}", conn.id());
    let name = name.to_owned() + if same.len() > 1 { &number } else { "" };
    conn.enter(room, &name).await?;
    conn.leave(&claims)?;
    // It subscribes after that, so it does not hear that it has joined.
    conn.subscribe_from(room, Start::last(history)).await?;
    let welcome = format!("* you are {name} in {room}; {}", here(conn, room).await?);
    conn.send(welcome).await?;
    Ok(name)
}

/// The names of the members of a room, in their order.
pub(crate) async fn here(conn: &AsyncConn<String>, room: &str) -> Result<String> {
    let members = conn.members(room).await?;
    let mut names: Vec<_> = members.iter().map(|member| member.text()).collect();
    names.sort();
    Ok(match names.len() {
        0..=100 => format!("here: {}", names.join(", ")),
        all => format!("here: {} and {} more", names[..100].join(", "), all - 100),
    })
}
