//! The order of answers, and sessions that end or move while they wait.

use std::time::Duration;

use super::{Asker, ask};
use crate::texts;

#[test]
fn answers_keep_their_order_with_what_is_sent_by_id() {
    let mut client = wsh::test::connect(wsh::descriptor!(Asker));

    client.send("40 get x");
    client.send("0 note 1");
    client.send("41 get x");
    client.send("0 note 2");

    let said = texts(&mut client);
    assert_eq!(said, ["40: Ok(None)", "note 1", "41: Ok(None)", "note 2"]);
}

#[test]
fn an_answer_does_not_wait_for_the_rest_of_a_message_in_parts() {
    let mut client = wsh::test::connect(wsh::descriptor!(Asker));

    client.send("0 part begin more");
    client.send("0 note 1");
    client.send("40 get x");
    client.send("0 part end last");

    assert_eq!(texts(&mut client), ["begin[40: Ok(None)]end", "note 1"]);
}

#[test]
fn an_answer_finds_its_session_in_newer_code() {
    let server = wsh::test::serve(wsh::descriptor!(Asker));
    server.set_answer_delay(Duration::from_secs(1));
    let mut client = server.connect();
    client.send("40 get x");

    server.reload(wsh::descriptor!(Asker)).unwrap();
    assert_eq!(client.generation(), Some(2));
    server.advance(Duration::from_secs(1));

    assert_eq!(texts(&mut client), ["40: Ok(None)"]);
}

#[test]
fn a_member_leaves_by_leave_by_its_end_and_by_a_panic_and_not_by_a_move() {
    let server = wsh::test::serve(wsh::descriptor!(Asker));
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        client.send(format!("70 enter lobby {at}"));
    }
    let here = || {
        let members = server.members("lobby");
        members
            .iter()
            .map(|it| it.text().into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(here(), ["0", "1", "2", "3"]);

    server.reload(wsh::descriptor!(Asker)).unwrap();
    assert_eq!(clients[3].generation(), Some(2));
    assert_eq!(here(), ["0", "1", "2", "3"]);
    clients[0].send("0 leave lobby");
    clients[1].send("0 panic");
    clients[2].lose();

    assert_eq!(here(), ["3"]);
    assert_eq!(
        ask(&mut clients[3], "50 present lobby 9"),
        ["70: 4", "50: 1"]
    );
}
