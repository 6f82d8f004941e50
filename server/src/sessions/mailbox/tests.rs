use super::*;

fn mailbox(bytes_max: usize) -> Mailbox {
    Mailbox::new(1, Arc::from("chat"), 1, bytes_max)
}

fn letter(length: usize) -> Letter {
    let payload = vec![0; length];
    Letter::Send(PreparedMessage::new(
        crate::ws::frame::BINARY,
        &payload,
        false,
    ))
}

/// The room that the mailbox has.
fn room_of(mailbox: &Mailbox) -> usize {
    let mut room = 0;
    mailbox.set_room_aside(|has| {
        room = has;
        0
    });
    room
}

fn lengths(letters: &Letters) -> Vec<usize> {
    let letters = letters.as_ref().into_iter().flat_map(|it| it.iter());
    let lengths = letters.map(|letter| match letter {
        Letter::Send(message) => message.payload().len(),
        other => panic!("{other:?}"),
    });
    lengths.collect()
}

#[test]
fn a_full_mailbox_takes_no_more_but_an_empty_one_takes_any_one_message() {
    let mailbox = mailbox(10);

    assert!(mailbox.post(letter(20)).is_ok());
    let second = mailbox.post(letter(1));

    assert_eq!(second, Err(Undelivered::Full));
    let mut letters = None;
    assert!(mailbox.take(&mut letters, false).is_some());
    assert_eq!(lengths(&letters), [20]);
    assert!(mailbox.take(&mut letters, false).is_none());
}

#[test]
fn nothing_that_is_published_comes_behind_a_message_that_did_not_fit() {
    let mailbox = mailbox(2_000);
    let message = |length| PreparedMessage::new(crate::ws::frame::BINARY, &vec![0; length], false);
    mailbox.publish(&message(100));

    mailbox.publish(&message(1_900));
    mailbox.publish(&message(10));

    assert_eq!(mailbox.post(letter(10)), Err(Undelivered::Gone));
    let mut letters = None;
    let post = mailbox.take(&mut letters, false).unwrap();
    assert!(post.overflowed);
    assert_eq!(lengths(&letters), [100]);
}

/// A mailbox with messages of these lengths in it, of 4,000 bytes at most.
fn filled(policy: OutboundPolicy, lengths: &[usize]) -> Mailbox {
    let outbound = OutboundLimit {
        bytes_max: 4_000,
        policy,
    };
    let mailbox = Mailbox::new(1, Arc::from("chat"), 1, outbound);
    for length in lengths {
        mailbox.post(letter(*length)).unwrap();
    }
    mailbox
}

#[test]
fn a_publication_that_cannot_fit_by_dropping_others_leaves_them() {
    use OutboundPolicy::{DropNew, DropOldest};
    // The limit is 4,000 bytes. What waits, what is published, and what waits then.
    for (policy, waits, published, left) in [
        (DropNew, &[1_500, 1_500][..], 1_500, &[1_500, 1_500][..]),
        (DropOldest, &[1_500, 1_500], 1_500, &[1_500, 1_500]),
        (DropOldest, &[1_000, 1_000, 1_000], 2_000, &[1_000, 2_000]),
        (DropOldest, &[100, 100, 3_000], 3_800, &[3_800]),
        (DropOldest, &[100, 100, 3_000], 4_000, &[100, 100, 3_000]),
        (DropOldest, &[5_000], 100, &[100]),
    ] {
        let mailbox = filled(policy, waits);

        mailbox.publish(&PreparedMessage::new(
            crate::ws::frame::BINARY,
            &vec![0; published],
            false,
        ));

        let mut letters = None;
        let post = mailbox.take(&mut letters, false).unwrap();
        assert_eq!(lengths(&letters), left, "{waits:?} {published}");
        assert!(!post.overflowed);
        let dropped = waits.len() + 1 - left.len();
        assert_eq!(mailbox.traffic.counts().messages_dropped, dropped as u64);
    }
}

#[test]
fn what_a_session_keeps_is_not_dropped_and_a_publication_that_needs_its_room_drops_nothing() {
    let mailbox = filled(OutboundPolicy::DropOldest, &[2_000]);
    let mut kept = None;
    mailbox.take(&mut kept, true);
    mailbox.post(letter(1_000)).unwrap();
    let publish = |length| {
        mailbox.publish(&PreparedMessage::new(
            crate::ws::frame::BINARY,
            &vec![0; length],
            false,
        ));
    };

    publish(2_500);
    publish(1_500);

    let mut letters = None;
    mailbox.take(&mut letters, true);
    assert_eq!(
        (lengths(&kept), lengths(&letters)),
        (vec![2_000], vec![1_500])
    );
    assert_eq!(mailbox.traffic.counts().messages_dropped, 2);
}

#[test]
fn a_session_that_closes_or_is_over_misses_nothing() {
    let message = PreparedMessage::new(crate::ws::frame::BINARY, &[0; 3_000], false);
    for policy in [OutboundPolicy::DropNew, OutboundPolicy::DropOldest] {
        let (closing, over) = (filled(policy, &[3_000]), filled(policy, &[3_000]));
        closing.refuse_letters();
        over.close();

        for mailbox in [closing, over] {
            mailbox.publish(&message);
            mailbox.publish_to_full(&message);

            let mut letters = None;
            mailbox.take(&mut letters, false);
            assert!(lengths(&letters).is_empty());
            assert_eq!(mailbox.traffic.counts().messages_dropped, 0);
        }
    }
}

#[test]
fn a_session_holds_what_is_incomplete_what_is_not_sent_and_its_letters() {
    let mailbox = filled(OutboundPolicy::Close, &[1_000]);
    let letters = mailbox.queue_bytes();
    assert_eq!(mailbox.held_bytes(), letters);

    // What is not sent is in both counts.
    mailbox.set_buffered(70_000);
    assert_eq!(mailbox.held_bytes(), letters + 70_000);
    mailbox.note_held(16);
    assert_eq!(mailbox.held_bytes(), letters + (1 << 20));
    mailbox.note_held(0);
    mailbox.set_buffered(0);
    assert_eq!(mailbox.held_bytes(), letters);
}

#[test]
fn a_close_passes_behind_a_message_larger_than_the_limit() {
    let mailbox = mailbox(10);
    let (code, reason) = (1008, "slow".to_owned());
    mailbox.post(letter(2_000)).unwrap();

    let closed = mailbox.post(Letter::Close { code, reason });

    assert!(closed.is_ok(), "{closed:?}");
}

#[test]
fn a_handshake_acts_on_wakes_and_orders_to_close_and_leaves_messages_where_they_are() {
    let mailbox = mailbox(1_000);
    let waker = Waker::noop();

    mailbox.post(letter(2)).unwrap();
    assert_eq!(mailbox.poll_handshake_event(waker), Poll::Pending);
    mailbox.wake().unwrap();
    assert_eq!(
        mailbox.poll_handshake_event(waker),
        Poll::Ready(HandshakePost::Woken)
    );
    assert_eq!(mailbox.poll_handshake_event(waker), Poll::Pending);
    mailbox.wake().unwrap();
    let (code, reason) = (1008, String::new());
    mailbox.post(Letter::Close { code, reason }).unwrap();
    let closed = HandshakePost::Closed { code };
    assert_eq!(mailbox.poll_handshake_event(waker), Poll::Ready(closed));

    let mut letters = None;
    let post = mailbox.take(&mut letters, false);
    assert!(post.is_some_and(|post| post.woken));
    assert_eq!(letters.map(|letters| letters.len()), Some(2));
}

#[test]
fn a_dismissal_leaves_a_handshake_its_time_and_closes_the_session_of_it() {
    let mailbox = mailbox(1_000);
    let dismissal = Dismissal::replaced(1);
    mailbox.dismiss(dismissal);

    assert_eq!(mailbox.poll_handshake_event(Waker::noop()), Poll::Pending);

    let post = mailbox.take(&mut None, false);
    assert_eq!(post.and_then(|post| post.dismissal), Some(dismissal));
}

#[test]
fn letters_go_behind_those_that_wait_already() {
    let (mailbox, mut letters) = (mailbox(1_000), None);

    for length in 1..=3 {
        mailbox.post(letter(length)).unwrap();
        mailbox.take(&mut letters, true);
        mailbox.wake().unwrap();
        mailbox.take(&mut letters, true);
    }

    assert_eq!(lengths(&letters), [1, 2, 3]);
}

#[test]
fn letters_that_stay_count_until_they_are_released() {
    let (mailbox, mut letters) = (mailbox(2_100), None);

    mailbox.post(letter(1_000)).unwrap();
    mailbox.take(&mut letters, true);
    mailbox.post(letter(1_000)).unwrap();
    mailbox.take(&mut letters, true);
    assert_eq!(mailbox.post(letter(1)), Err(Undelivered::Full));
    mailbox.release(letter(1_000).len());
    assert!(mailbox.post(letter(1_000)).is_ok());
    // Now all leave.
    mailbox.take(&mut letters, false);
    assert!(mailbox.post(letter(5_000)).is_ok());
}

#[test]
fn nothing_is_taken_behind_a_close_and_a_wake_until_the_end() {
    let mailbox = mailbox(1_000);
    let close = |code| Letter::Close {
        code,
        reason: String::new(),
    };

    mailbox.post(close(4000)).unwrap();
    assert_eq!(mailbox.post(close(4001)), Err(Undelivered::Gone));
    assert_eq!(mailbox.post(letter(1)), Err(Undelivered::Gone));
    assert_eq!(mailbox.wake(), Ok(()));
    mailbox.close();
    assert_eq!(mailbox.wake(), Err(Undelivered::Gone));
}

#[test]
fn of_two_dismissals_the_one_that_concerns_more_stands_for_both() {
    for (first, second, left) in [
        (Some(3), Some(4), Some(4)),
        (Some(4), Some(3), Some(4)),
        (None, Some(9), None),
        (Some(9), None, None),
    ] {
        let mailbox = mailbox(1_000);
        let [first, second, left] = [first, second, left].map(|from| match from {
            Some(generation) => Dismissal::replaced(generation),
            None => Dismissal::STOPPING,
        });
        mailbox.dismiss(first);
        mailbox.dismiss(second);
        let post = mailbox.take(&mut None, false).unwrap();
        assert_eq!(post.dismissal, Some(left), "{first:?} and {second:?}");
    }
    let dismissal = Dismissal::replaced(3);
    assert!(dismissal.concerns(2) && dismissal.concerns(3) && !dismissal.concerns(4));
}

#[test]
fn a_deadline_that_has_moved_away_is_told_and_wakes_nothing() {
    let mailbox = mailbox(1_000);
    assert_eq!(mailbox.wake_for_deadline(5), None, "nothing is waited for");
    assert!(!mailbox.is_deadline_due());

    mailbox.set_due(9);
    assert_eq!(mailbox.wake_for_deadline(5), Some(9));
    assert!(!mailbox.is_deadline_due());
    assert_eq!(mailbox.wake_for_deadline(9), None);
    assert!(mailbox.take_deadline_due());
    // A second entry for the same tick.
    assert_eq!(mailbox.wake_for_deadline(9), None);
    assert!(!mailbox.is_deadline_due());
}

#[test]
fn what_a_session_delivers_and_has_buffered_leaves_less_room() {
    let mailbox = mailbox(1_000);
    mailbox.post(letter(300)).unwrap();
    let left = room_of(&mailbox);
    assert!((600..700).contains(&left), "{left}");

    // The session takes the letter, and then has it in its queue.
    let mut letters = None;
    let post = mailbox.take(&mut letters, false).expect("the letter");
    assert_eq!(post.letter_bytes as usize, 1_000 - left);
    assert_eq!(room_of(&mailbox), left);
    mailbox.set_buffered(302);
    assert_eq!(room_of(&mailbox), 698);
    mailbox.set_buffered(2_000);
    assert_eq!(room_of(&mailbox), 0);

    // What is buffered may leave before the session comes to a letter.
    assert!(mailbox.post(letter(300)).is_ok());
    assert_eq!(room_of(&mailbox), 0);
    mailbox.take(&mut letters, false);
    mailbox.set_buffered(0);
    assert_eq!(room_of(&mailbox), 1_000);
}

#[test]
fn room_that_is_set_aside_is_given_to_no_other_thread() {
    let mailbox = mailbox(1_000);

    let first = mailbox.set_room_aside(|room| room - 300);
    let second = mailbox.set_room_aside(|room| room);

    assert_eq!(room_of(&mailbox), 0);
    drop(second);
    assert_eq!(room_of(&mailbox), 300);
    drop(first);
    assert_eq!(room_of(&mailbox), 1_000);
}

#[test]
fn a_rest_takes_room_also_between_the_mailbox_and_the_queue_of_its_session() {
    let mailbox = mailbox(1_000);
    mailbox.leave_rest(&[0; 200], 1);
    let left = room_of(&mailbox);

    mailbox.take_rest().expect("the rest");

    assert_eq!(room_of(&mailbox), left);
}
