use ChangeKind::{Changed, Joined, Left};

use super::*;

fn topic() -> TopicName {
    TopicName {
        owner: "chat".into(),
        name: "lobby".into(),
    }
}

fn member(id: u64, value: &str) -> Member {
    Member {
        id,
        value: value.as_bytes().into(),
    }
}

fn change(version: u64, kind: ChangeKind, id: u64, value: &str) -> PresenceChange {
    PresenceChange {
        topic: topic(),
        version,
        kind,
        member: member(id, value),
    }
}

fn page(version: u64, members: &[(u64, &str)], has_more: bool) -> Result<MembersPage, Failure> {
    Ok(MembersPage {
        members: members
            .iter()
            .map(|(id, value)| member(*id, value))
            .collect(),
        version,
        has_more,
    })
}

/// A roster that has told of these members, at version 5.
fn roster(members: &[(u64, &str)]) -> Roster {
    let mut roster = Roster::new(topic());
    roster.begin(0);
    assert_eq!(roster.next_list(0), Some((1, None)));
    assert_eq!(roster.page(1, page(5, members, false), 0), (vec![], None));
    roster
}

#[test]
fn the_first_list_is_no_news_and_each_change_is() {
    let mut roster = Roster::new(topic());
    roster.begin(0);
    let early = change(3, Joined, 1, "ann");
    assert_eq!(roster.change(early.clone(), 0), Some(early));
    roster.next_list(0).unwrap();
    let during = change(5, Joined, 9, "ben");
    assert_eq!(roster.change(during.clone(), 0), Some(during));
    let listed = roster.page(1, page(4, &[(1, "ann"), (2, "cat")], false), 0);
    assert_eq!(listed, (vec![], None));

    let next = change(6, Left, 9, "ben");
    assert_eq!(roster.change(next.clone(), 0), Some(next.clone()));
    assert_eq!(roster.change(next, 0), None, "it came twice");
}

#[test]
fn after_an_outage_the_differences_are_told_once() {
    let mut roster = roster(&[(1, "ann"), (2, "ben"), (3, "cat")]);
    roster.cut();
    assert_eq!(roster.change(change(6, Left, 1, "ann"), 0), None);
    roster.begin(100);
    assert_eq!(roster.next_list(100 + ENTER_AGAIN_MS - 1), None);
    assert_eq!(roster.change(change(41, Joined, 8, "dan"), 0), None);
    assert_eq!(roster.next_list(100 + ENTER_AGAIN_MS), Some((2, None)));
    assert_eq!(roster.change(change(43, Changed, 2, "bea"), 0), None);

    let first = roster.page(2, page(42, &[(2, "ben"), (3, "cleo")], true), 0);
    assert_eq!(first, (vec![], Some((2, Some(3)))));
    let (told, next) = roster.page(2, page(43, &[(7, "eve"), (8, "dan")], false), 0);

    assert_eq!(next, None);
    assert_eq!(
        told,
        [
            change(43, Left, 1, "ann"),
            change(43, Changed, 2, "bea"),
            change(43, Changed, 3, "cleo"),
            change(43, Joined, 7, "eve"),
            change(43, Joined, 8, "dan"),
        ]
    );
    let next = change(44, Left, 7, "eve");
    assert_eq!(roster.change(next.clone(), 0), Some(next));
}

#[test]
fn a_version_that_is_missing_has_the_members_listed() {
    let mut roster = roster(&[(1, "ann")]);
    assert_eq!(roster.change(change(8, Joined, 3, "cat"), 50), None);
    assert_eq!(roster.next_list(50), Some((2, None)));

    let (told, _) = roster.page(2, page(8, &[(2, "ben"), (3, "cat")], false), 50);

    let left = change(8, Left, 1, "ann");
    let joined = [change(8, Joined, 2, "ben"), change(8, Joined, 3, "cat")];
    assert_eq!(told, [&[left], &joined[..]].concat());
}

#[test]
fn a_list_that_fails_is_asked_for_again_and_a_late_page_is_none() {
    let mut roster = roster(&[(1, "ann")]);
    roster.cut();
    assert_eq!(roster.page(1, page(9, &[], false), 0), (vec![], None));
    roster.begin(0);
    assert_eq!(roster.next_list(10_000), Some((2, None)));
    let failed = roster.page(2, Err(Failure::Unavailable), 10_000);
    assert_eq!(failed, (vec![], None));
    assert_eq!(roster.next_list(10_000 + AGAIN_MS), Some((3, None)));
    assert_eq!(roster.page(2, page(9, &[], false), 0), (vec![], None));

    let (told, _) = roster.page(3, page(9, &[], false), 0);
    assert_eq!(told, [change(9, Left, 1, "ann")]);
}
