//! The behaviour of a room, tested without a server.

use std::time::Duration;

use wsh::prelude::*;
use wsh::test::{Client, Server};

use crate::{Chat, WSH_HANDLER, chat};

/// Another version of the chat, which panics when a member says so.
async fn fragile(conn: &mut AsyncConn<String>, request: &Request<'_>, shared: &Chat) -> Result {
    if conn.is_restored() {
        while let Some(message) = conn.recv().await {
            assert!(message != "panic", "on purpose");
        }
        return Ok(());
    }
    chat(conn, request, shared).await
}

#[test]
fn everybody_in_a_room_hears_what_is_said_and_who_comes_and_goes() {
    let server = chat_server();
    let mut ann = join(&server, "/?room=tea&name=ann");
    assert_eq!(next(&mut ann), "* you are ann in tea; here: ann");
    let mut ben = join(&server, "/?room=tea&name=ben");
    assert_eq!(next(&mut ben), "* you are ben in tea; here: ann, ben");
    let mut cleo = join(&server, "/?room=coffee&name=cleo");
    next(&mut cleo);

    ben.send("hello\n");
    ben.close(1000, "");
    ann.send("/who");

    assert_eq!(next(&mut ann), "* ben joined");
    assert_eq!(next(&mut ann), "ben: hello");
    assert_eq!(next(&mut ann), "* ben left");
    assert_eq!(next(&mut ann), "* here: ann");
    assert_eq!(cleo.receive(), None, "another room hears nothing");
}

#[test]
fn a_name_that_is_taken_gets_a_number() {
    let server = chat_server();
    let mut first = join(&server, "/?room=taken&name=ann");
    next(&mut first);

    let mut second = join(&server, "/?room=taken&name=ann");

    let welcome = next(&mut second);
    assert!(
        welcome.starts_with("* you are ann-") && welcome.contains("here: ann, ann-"),
        "{welcome}"
    );
}

#[test]
fn of_two_that_join_at_once_with_one_name_at_most_one_gets_it() {
    let server = chat_server();
    // So both wait for the answer to their claims.
    server.set_answer_delay(Duration::from_secs(1));
    let mut both = [(); 2].map(|()| join(&server, "/?room=twins&name=ann"));
    let mut late = join(&server, "/?room=twins&name=ben");
    server.set_answer_delay(Duration::ZERO);
    server.advance(Duration::from_secs(60));

    let names = both.each_mut().map(|member| name_in(&next(member)));

    assert_ne!(names[0], names[1]);
    assert!(names.iter().all(|name| name.starts_with("ann")));
    assert_eq!(name_in(&next(&mut late)), "ben");
    late.send("/who");
    let [one, other] = names;
    assert!(
        [
            format!("* here: {one}, {other}, ben"),
            format!("* here: {other}, {one}, ben")
        ]
        .contains(&last(&mut late))
    );
}

#[test]
fn new_code_finds_what_was_said_and_the_members() {
    let server = chat_server();
    let mut ann = join(&server, "/?room=kept&name=ann");
    let mut ben = join(&server, "/?room=kept&name=ben");
    ann.send("before");
    ben.send("as well");

    server.reload(&WSH_HANDLER).unwrap();
    ann.send("after");
    let mut cleo = join(&server, "/?room=kept&name=cleo");
    let mut second = join(&server, "/?room=kept&name=ann");

    assert_eq!(ann.generation(), Some(2));
    let heard = [(); 4].map(|()| next(&mut cleo));
    assert_eq!(
        heard,
        [
            "ann: before",
            "ben: as well",
            "ann: after",
            "* you are cleo in kept; here: ann, ben, cleo",
        ]
    );
    assert!(last(&mut second).starts_with("* you are ann-"));
    let heard = [(); 6].map(|()| next(&mut ann));
    assert_eq!(
        heard[1..5],
        ["* ben joined", "ann: before", "ben: as well", "ann: after"]
    );
    assert_eq!(heard[5], "* cleo joined");
}

#[test]
fn a_member_whose_session_panics_leaves_no_ghost() {
    let server = chat_server();
    let mut ann = join(&server, "/?room=ghosts&name=ann");
    let mut ben = join(&server, "/?room=ghosts&name=ben");
    ann.send("before");
    server
        .reload(wsh::descriptor!(async fragile, shared = Chat))
        .unwrap();

    ann.send("panic");

    assert_eq!(ann.closed().unwrap().code, 1011);
    assert_eq!(last(&mut ben), "* ann left");
    server.reload(&WSH_HANDLER).unwrap();
    let mut again = join(&server, "/?room=ghosts&name=ann");
    assert_eq!(next(&mut again), "ann: before");
    assert_eq!(next(&mut again), "* you are ann in ghosts; here: ann, ben");
    assert_eq!(next(&mut ben), "* ann joined");
    assert_eq!(ben.receive(), None, "and nothing twice");
}

#[test]
fn a_lost_member_leaves_and_one_that_never_got_a_name_is_not_heard_of() {
    let server = chat_server();
    let mut ann = join(&server, "/?room=lost&name=ann");
    next(&mut ann);
    server.set_answer_delay(Duration::from_secs(1));
    let mut ben = join(&server, "/?room=lost&name=ben");
    ann.send("/who");
    ben.lose();
    server.set_answer_delay(Duration::ZERO);
    server.advance(Duration::from_secs(60));
    assert_eq!(next(&mut ann), "* here: ann");
    assert_eq!(ann.receive(), None);

    let mut cleo = join(&server, "/?room=lost&name=cleo");
    next(&mut cleo);
    cleo.lose();

    assert_eq!(next(&mut ann), "* cleo joined");
    assert_eq!(next(&mut ann), "* cleo left");
    assert_eq!(server.members("lost").len(), 1);
}

#[test]
fn lines_grow_too_old_and_a_room_without_history_is_a_room() {
    let server = chat_server();
    server.set_history("aged", 100, Duration::from_secs(60));
    server.set_history("plain", 0, Duration::ZERO);
    for room in ["aged", "plain"] {
        let mut ann = join(&server, &format!("/?room={room}&name=ann"));
        ann.send("one");
        assert_eq!(last(&mut ann), "ann: one");
        let welcome = format!("* you are ben in {room}; here: ann, ben");
        let mut ben = join(&server, &format!("/?room={room}&name=ben"));
        if room == "aged" {
            assert_eq!(next(&mut ben), "ann: one");
            server.advance(Duration::from_secs(60));
        }
        assert_eq!(next(&mut ben), welcome);
        ben.close(1000, "");
        let mut cleo = join(&server, &format!("/?room={room}&name=cleo"));
        assert_eq!(
            next(&mut cleo),
            format!("* you are cleo in {room}; here: ann, cleo")
        );
    }
}

#[test]
fn a_newcomer_sees_the_last_lines_and_no_more() {
    let server = chat_server();
    let mut ann = join(&server, "/?room=past&name=ann");
    for line in ["one", "two", "three", "four", "  "] {
        ann.send(line);
    }

    let mut ben = join(&server, "/?room=past&name=ben");

    assert_eq!(next(&mut ben), "ann: two");
    assert_eq!(next(&mut ben), "ann: three");
    assert_eq!(next(&mut ben), "ann: four");
    assert_eq!(next(&mut ben), "* you are ben in past; here: ann, ben");
}

#[test]
fn no_member_can_write_a_line_that_looks_like_the_rooms() {
    let server = chat_server();
    let mut ann = join(&server, "/?room=forged&name=ann");
    next(&mut ann);

    ann.send("bye\r\n* ann left");
    ann.send("x".repeat(2_001));

    assert_eq!(next(&mut ann), "ann: bye  * ann left");
    assert_eq!(next(&mut ann), "* not said: more than 2000 bytes");
    for name in ["", "*", "a:b", "a-1", "two words", &"x".repeat(25)] {
        let target = format!("/?name={}", name.replace(' ', "+"));
        let refusal = server.request(&target).try_connect().unwrap_err();
        assert_eq!(refusal.status, 400, "`{name}`");
    }
}

#[test]
fn a_full_room_is_not_listed_to_its_end() {
    let server = chat_server();
    let mut members: Vec<Client> = (100..=201)
        .map(|number| join(&server, &format!("/?room=full&name=m{number}")))
        .collect();

    let welcome = next(&mut members[101]);

    assert!(welcome.starts_with("* you are m201 in full; here: m100, m101, "));
    assert!(welcome.ends_with(", m199 and 2 more"), "{welcome}");
}

#[test]
fn a_message_is_one_line_in_the_order_in_which_it_is_shown() {
    let mut ann = join(&chat_server(), "/?room=line&name=ann");
    next(&mut ann);

    ann.send("a\n\u{1b}b\u{85}c\u{2028}* d\u{2029}e\u{202a}f\u{202e}g\u{2066}h\u{2069}i");

    assert_eq!(next(&mut ann), "ann: a  b c * d e f g h i");
}

#[test]
fn binary_messages_end_the_session_with_1003() {
    let mut ann = join(&chat_server(), "/?room=bytes&name=ann");

    ann.send(b"\x00\x01");

    assert_eq!(ann.closed().unwrap().code, 1003);
}

#[test]
fn too_long_a_history_is_refused() {
    let error = wsh::test::load(&WSH_HANDLER, r#"{"history": 201}"#).unwrap_err();
    assert_eq!(error, "`history` is at most 200, found 201");
}

fn chat_server() -> Server {
    wsh::test::load(&WSH_HANDLER, r#"{"history": 3}"#).unwrap()
}

fn join(server: &Server, target: &str) -> Client {
    server.request(target).connect()
}

fn next(client: &mut Client) -> String {
    client.receive().expect("a message").to_string()
}

/// The last of the messages that have come.
fn last(client: &mut Client) -> String {
    let mut last = next(client);
    while let Some(message) = client.receive() {
        last = message.to_string();
    }
    last
}

/// The name in a welcome.
fn name_in(welcome: &str) -> String {
    let rest = welcome.strip_prefix("* you are ").expect("a welcome");
    rest.split(' ').next().expect("a name").to_owned()
}
