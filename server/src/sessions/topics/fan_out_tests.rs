use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;
use crate::sessions::mailbox::letter::{Letter, Letters};
use crate::sessions::registry::{Registration, Registry};
use crate::ws::frame;

fn sessions(count: usize) -> Vec<Registration> {
    let registry = Registry::new();
    let session = |_| registry.register(&Arc::from("chat"), 1, 1 << 20);
    (0..count).map(session).collect()
}

fn message(number: usize) -> Arc<PreparedMessage> {
    PreparedMessage::new(frame::TEXT, number.to_string().as_bytes(), false)
}

/// Takes the numbers that a session was sent.
fn numbers(session: &Registration) -> Vec<usize> {
    let mut letters: Letters = None;
    session.mailbox().take(&mut letters, false);
    let letters = letters.into_iter().flat_map(|letters| *letters);
    let numbers = letters.map(|letter| match letter {
        Letter::Send(message) => String::from_utf8_lossy(message.payload()).parse(),
        other => panic!("{other:?}"),
    });
    numbers.collect::<Result<_, _>>().unwrap()
}

const LOBBY: Topic<'static> = Topic {
    owner: "chat",
    name: "lobby",
};

fn lobby(members: &[Registration]) -> Arc<Topics> {
    let topics = Topics::new();
    for member in members {
        topics.subscribe(LOBBY, member.mailbox());
    }
    topics
}

#[test]
fn a_publication_is_for_those_that_are_subscribers_when_it_is_made() {
    let [leaves, stays, comes] = &sessions(3)[..] else {
        panic!("three sessions");
    };
    let topics = Topics::new();
    topics.subscribe(LOBBY, leaves.mailbox());
    topics.subscribe(LOBBY, stays.mailbox());
    let turn = wakes::defer();

    assert_eq!(topics.publish(LOBBY, &message(1), 0), 2);
    topics.unsubscribe(LOBBY, leaves.mailbox().id);
    topics.subscribe(LOBBY, comes.mailbox());
    assert_eq!(topics.publish(LOBBY, &message(2), stays.mailbox().id), 1);
    assert!(numbers(leaves).is_empty(), "the turn goes on");
    drop(turn);

    assert_eq!(numbers(leaves), [1]);
    assert_eq!(numbers(stays), [1]);
    assert_eq!(numbers(comes), [2]);
}

#[test]
fn a_topic_whose_last_subscriber_leaves_during_a_publication_is_removed_after_it() {
    let members = sessions(1);
    let topics = lobby(&members);
    let turn = wakes::defer();
    topics.publish(LOBBY, &message(1), 0);

    topics.unsubscribe(LOBBY, members[0].mailbox().id);
    assert!(
        topics.find(LOBBY).is_some(),
        "its publication is on its way"
    );
    drop(turn);

    assert!(topics.find(LOBBY).is_none());
    assert_eq!(numbers(&members[0]), [1]);
}

#[test]
fn a_publisher_that_is_faster_than_its_subscribers_is_held_up() {
    let members = sessions(3);
    let topics = lobby(&members);
    let long = PreparedMessage::new(frame::BINARY, &vec![7; WAITING_BYTES_MAX / 3], false);
    let turn = wakes::defer();

    let waiting = (0..10).map(|_| {
        topics.publish(LOBBY, &long, 0);
        topics.find(LOBBY).unwrap().lock().waiting_bytes
    });

    let most = waiting.max().unwrap();
    assert!((1..=WAITING_BYTES_MAX).contains(&most), "{most}");
    drop(turn);
}

#[test]
fn whichever_sessions_join_and_leave_each_subscriber_gets_each_publication_once() {
    let all = sessions(20);
    let topics = Topics::new();
    let mut joined = BTreeSet::new();
    let mut dice = 7_usize;
    for number in 0..if cfg!(miri) { 20 } else { 500 } {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let index = (dice >> 33) % all.len();
        if joined.remove(&index) {
            topics.unsubscribe(LOBBY, all[index].mailbox().id);
        } else {
            joined.insert(index);
            topics.subscribe(LOBBY, all[index].mailbox());
        }

        assert_eq!(topics.publish(LOBBY, &message(number), 0), joined.len());

        for (index, session) in all.iter().enumerate() {
            let wanted = joined.contains(&index).then_some(number);
            assert_eq!(numbers(session), Vec::from_iter(wanted), "after {number}");
        }
    }
}

#[test]
fn a_list_is_delivered_in_its_order_and_behind_what_was_published_before() {
    let members = sessions(2);
    let topics = lobby(&members);
    let turn = wakes::defer();
    topics.publish(LOBBY, &message(1), 0);

    let list = [(message(2), 0), (message(3), members[0].mailbox().id)];
    assert_eq!(topics.deliver(LOBBY, &list), 1);

    assert_eq!(numbers(&members[0]), [1, 2]);
    assert_eq!(numbers(&members[1]), [1, 2, 3]);
    drop(turn);
    assert!(numbers(&members[1]).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_on_many_threads_reach_many_subscribers_each_in_its_order() {
    // Miri takes minutes for more.
    const EACH: usize = if cfg!(miri) { 5 } else { 200 };
    let members = Arc::new(sessions(if cfg!(miri) { 5 } else { 100 }));
    let topics = lobby(&members);

    // One publisher is a thread without a runtime, the others have turns on workers.
    let publish = |publisher: usize| {
        let topics = topics.clone();
        move || {
            for number in 0..EACH {
                let _turn = (publisher > 0).then(wakes::defer);
                topics.publish(LOBBY, &message(publisher * EACH + number), 0);
            }
        }
    };
    let outside = std::thread::spawn(publish(0));
    let workers = [1, 2].map(|publisher| {
        let publish = publish(publisher);
        tokio::spawn(async move { publish() })
    });
    for worker in workers {
        worker.await.unwrap();
    }
    outside.join().unwrap();

    let deadline = Instant::now() + Duration::from_secs(if cfg!(miri) { 600 } else { 20 });
    let mut orders = vec![Vec::new(); members.len()];
    while orders.iter().any(|order| order.len() < 3 * EACH) {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            orders.last().map(Vec::len)
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
        for (session, order) in members.iter().zip(&mut orders) {
            order.extend(numbers(session));
        }
    }
    for order in &orders {
        assert_eq!(order, &orders[0], "the order is that of the topic");
    }
    for publisher in 0..3 {
        let of_publisher = publisher * EACH..(publisher + 1) * EACH;
        let own = orders[0]
            .iter()
            .copied()
            .filter(|it| of_publisher.contains(it));
        assert!(own.eq(of_publisher.clone()), "publisher {publisher}");
    }
}

#[test]
fn what_follows_a_publication_does_not_overtake_it_where_another_thread_has_taken_it_over() {
    let members = sessions(1);
    let topics = lobby(&members);
    let turn = wakes::defer();
    topics.publish(LOBBY, &message(1), 0);

    // As the watchdog does in a callback that takes long. The other thread has not begun.
    let taken_over = wakes::of_this_thread().take_over();
    wakes::do_work_now();
    assert_eq!(numbers(&members[0]), [1]);

    taken_over.run();
    drop(turn);
    assert!(numbers(&members[0]).is_empty(), "it came once");
}

#[test]
fn what_follows_a_publication_waits_for_another_thread_that_serves_the_topic() {
    let members = sessions(1);
    let topics = lobby(&members);
    let fan_out = topics.find(LOBBY).expect("the topic");
    fan_out.lock().is_served = true;

    let (published, may_go_on) = std::sync::mpsc::channel();
    let publisher = {
        let topics = topics.clone();
        std::thread::spawn(move || {
            let _turn = wakes::defer();
            topics.publish(LOBBY, &message(1), 0);
            published.send(()).expect("the test waits");
            wakes::do_work_now();
            numbers(&members[0])
        })
    };
    may_go_on.recv().expect("the publisher publishes");
    // Long enough for a publisher to be seen that does not wait, or only as long as a thread runs that is not suspended.
    std::thread::sleep(Duration::from_millis(20));
    fan_out.lock().is_served = false;

    assert_eq!(publisher.join().expect("it does not panic"), [1]);
}

#[test]
fn what_is_published_before_is_waited_for_and_what_others_publish_meanwhile_is_not() {
    let members = sessions(1);
    let topics = lobby(&members);
    let fan_out = topics.find(LOBBY).expect("the topic");
    let _turn = wakes::defer();
    topics.publish(LOBBY, &message(1), 0);
    fan_out.finish();
    assert_eq!(numbers(&members[0]), [1]);

    // Another thread serves, and has always something to serve.
    fan_out.lock().is_served = true;
    topics.publish(LOBBY, &message(2), 0);
    let waits = {
        let (fan_out, accepted) = (fan_out.clone(), fan_out.lock().accepted);
        std::thread::spawn(move || fan_out.give(accepted))
    };
    std::thread::sleep(Duration::from_millis(20));
    assert!(!waits.is_finished(), "the second one is not served");
    topics.publish(LOBBY, &message(3), 0);
    fan_out.lock().given += 1;

    let deadline = Instant::now() + Duration::from_secs(20);
    while !waits.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    let has_waited_for_the_third = !waits.is_finished();
    fan_out.lock().is_served = false;
    waits.join().expect("it does not panic");
    assert!(!has_waited_for_the_third);
}
