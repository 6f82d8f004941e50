//! The behaviour of a room, tested without a server.

use wsh::test::{Client, Server};

use crate::WSH_HANDLER;

#[test]
fn everybody_in_a_room_hears_what_is_said_and_who_comes_and_goes() {
    let server = chat();
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
    let server = chat();
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
fn a_newcomer_sees_the_last_lines_and_no_more() {
    let server = chat();
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
    let server = chat();
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
fn binary_messages_end_the_session_with_1003() {
    let mut ann = join(&chat(), "/?room=bytes&name=ann");

    ann.send(b"\x00\x01");

    assert_eq!(ann.closed().unwrap().code, 1003);
}

#[test]
fn too_long_a_history_is_refused() {
    let error = wsh::test::load(&WSH_HANDLER, r#"{"history": 201}"#).unwrap_err();
    assert_eq!(error, "`history` is at most 200, found 201");
}

fn chat() -> Server {
    wsh::test::load(&WSH_HANDLER, r#"{"history": 3}"#).unwrap()
}

fn join(server: &Server, target: &str) -> Client {
    server.request(target).connect()
}

fn next(client: &mut Client) -> String {
    client.receive().expect("a message").to_string()
}
