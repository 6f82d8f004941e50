//! A session's id, topics and tokens belong to no generation.

use crate::harness::client::Client;
use crate::harness::compile::compile;
use crate::harness::server::Server;
use crate::harness::site::Site;

#[test]
fn what_is_sent_by_id_comes_to_a_session_wherever_it_has_moved() {
    let (site, server) = first_build();
    let mut moves = server.connect("/a");
    let mut stays = server.connect("/a?stay");
    let id = id(&mut moves);

    second_build(&site, &server);

    // The sender runs code of the older generation.
    let note = u64::MAX >> 1;
    assert_eq!(stays.ask(&format!("note {id} {note}")), "1 note 0");
    assert_eq!(moves.text(), format!("2 noted {note}"));
    assert_eq!(stays.ask(&format!("send {id}")), "1 send 0");
    assert_eq!(moves.text(), "from 1");
    assert_eq!(stays.ask(&format!("close {id}")), "1 close 0");
    assert_eq!(moves.close_code(), 4000);
    // The session is over, so a send by its id is answered GONE.
    assert_eq!(stays.ask(&format!("note {id} 1")), "1 note -3");
    assert_eq!(stays.ask(&format!("send {id}")), "1 send -1");
}

#[test]
fn a_timer_runs_out_in_the_code_that_the_session_has_moved_to() {
    let is_in_time = [200, 1_000, 5_000].into_iter().any(|ms| {
        let (site, server) = first_build();
        let mut moves = server.connect("/a");
        assert_eq!(moves.ask(&format!("timer 7 {ms}")), "1 timer 0");

        second_build(&site, &server);

        let rang = moves.text();
        assert!(rang.ends_with(" timer rang 7"), "{rang}");
        // On a slow machine the timer runs out before the move.
        rang.starts_with('2')
    });
    assert!(is_in_time, "no move was done in time");
}

#[test]
fn a_topic_belongs_to_a_handler_in_all_generations_and_with_a_slash_to_the_server() {
    let (site, server) = first_build();
    site.add_bytes(&generations(1), "b_wsh.so");
    server.line(&["handler loaded", r#"handler="b""#]);
    let mut old = server.connect("/a?stay");
    let mut other = server.connect("/b");
    let long = format!("/{}", "n".repeat(254));
    for topic in ["news", "/news", "a.*>{}", &long] {
        assert_eq!(old.ask(&format!("join {topic}")), "1 join 0");
    }

    second_build(&site, &server);
    let mut new = server.connect("/a");

    // A topic of the handler's own: its newer code reaches a session on the older code, and another handler does not.
    assert_eq!(new.ask("publish news"), "2 publish 1");
    assert_eq!(old.text(), "from 2");
    assert_eq!(other.ask("publish news"), "1 publish 0");
    // A topic of the server's: any handler reaches it.
    for topic in ["/news", &long] {
        assert_eq!(other.ask(&format!("publish {topic}")), "1 publish 1");
        assert_eq!(old.text(), "from 1");
    }
    // A name is no prefix of another one.
    for topic in ["a.b", "a.*", "a.", "NEWS", "/news/", "//news", "*", ">"] {
        assert_eq!(
            new.ask(&format!("publish {topic}")),
            "2 publish 0",
            "{topic}"
        );
    }
    assert_eq!(new.ask("publish a.*>{}"), "2 publish 1");
    assert_eq!(old.text(), "from 2");
    // The count is of subscribers other than the publisher, each once.
    assert_eq!(old.ask("join news"), "1 join 0");
    assert_eq!(old.ask("publish news"), "1 publish 0");
    let too_long = format!("join {long}n");
    assert_eq!(new.ask(&too_long), "2 join -4");
}

/// Starts a server with one handler at `/a`, which serves.
fn first_build() -> (Site, Server) {
    let site = Site::empty();
    site.add_bytes(&generations(1), "a_wsh.so");
    let server = Server::start(&site);
    (site, server)
}

/// Replaces the handler at `/a`, and waits until its sessions that can move have moved.
fn second_build(site: &Site, server: &Server) {
    site.add_bytes(&generations(2), "a_wsh.so");
    server.line(&["sessions moved", "generation=2"]);
}

fn generations(build: u32) -> Vec<u8> {
    compile(
        "tests/fixtures/c/generations.c",
        &[&format!("-DBUILD={build}")],
    )
}

fn id(client: &mut Client) -> u64 {
    let answer = client.ask("id");
    let id = answer.rsplit(' ').next().and_then(|id| id.parse().ok());
    id.unwrap_or_else(|| panic!("an id in `{answer}`"))
}
