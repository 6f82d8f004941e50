//! The order in which the sink hears of one topic, from however many threads it comes.

use super::*;

#[test]
fn a_sink_may_call_the_engine_and_hears_what_comes_of_it_afterwards() {
    let it = Arc::new(Fixture::new(Some(UNBOUNDED)));
    let (lobby, tea) = (topic("lobby"), topic("tea"));
    it.subscribe(&lobby);
    it.subscribe(&tea);
    on_hearing(&it, heard("1", 1), |it| {
        it.publish(&topic("lobby"), b"2").unwrap();
        it.enter(&topic("lobby"), 7, b"").unwrap();
        let page = it.page(&topic("lobby"), HistoryFrom::Last(9));
        assert_eq!(page.publications.len(), 2);
        assert_eq!(it.present(&topic("lobby")).members.len(), 1);
        // Another topic's events do not wait.
        it.publish(&topic("tea"), b"other").unwrap();
        let heard = it.sink.heard.lock().unwrap().len();
        assert_eq!(heard, 2);
    });

    it.publish(&lobby, b"1").unwrap();

    let joined = Heard::Presence(1, ChangeKind::Joined, 7);
    let all = [heard("1", 1), heard("other", 1), heard("2", 2), joined];
    assert_eq!(it.sink.take(), all);
}

#[test]
fn a_topic_whose_sink_does_not_keep_up_is_full_and_its_members_can_leave() {
    let it = Arc::new(Fixture::new(None));
    let lobby = topic("lobby");
    it.subscribe(&lobby);
    it.enter(&lobby, 7, b"").unwrap();
    on_hearing(&it, Heard::Publication(b"first".into(), None), |it| {
        let publish = || it.engine.publish(it.publication(&topic("lobby"), b"more"));
        assert_eq!((0..2_000).filter(|_| publish().is_ok()).count(), 1_024);
        assert_eq!(publish(), Err(Failure::Full));
        assert_eq!(it.enter(&topic("lobby"), 8, b""), Err(Failure::Full));
        it.engine.leave(&topic("lobby"), 7);
        let elsewhere = it.publication(&topic("tea"), b"");
        assert_eq!(it.engine.publish(elsewhere), Ok(()));
    });

    it.engine.publish(it.publication(&lobby, b"first")).unwrap();

    // Another thread goes on after a while.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let is_last = || {
        let heard = it.sink.heard.lock().unwrap();
        heard.last() == Some(&Heard::Presence(2, ChangeKind::Left, 7))
    };
    while !is_last() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert_eq!(it.sink.take().len(), 1 + 1 + 1_024 + 1);
    assert!(it.present(&lobby).members.is_empty());
}

#[test]
fn a_subscription_that_begins_anew_hears_nothing_of_the_one_before() {
    let it = Arc::new(Fixture::new(Some(UNBOUNDED)));
    let lobby = topic("lobby");
    it.subscribe(&lobby);
    on_hearing(&it, heard("1", 1), |it| {
        it.publish(&topic("lobby"), b"2").unwrap();
        it.engine.unsubscribe(&topic("lobby"));
        it.publish(&topic("lobby"), b"3").unwrap();
        let head = it.subscribe(&topic("lobby"));
        assert_eq!(head.map(|head| head.offset), Some(3));
        it.publish(&topic("lobby"), b"4").unwrap();
    });

    it.publish(&lobby, b"1").unwrap();

    assert_eq!(it.sink.take(), [heard("1", 1), heard("4", 4)]);
}

#[test]
fn all_hear_one_order_however_many_publish() {
    const THREADS: usize = 4;
    const EACH: usize = 2_000;
    let it = Arc::new(Fixture::new(Some(HistoryBounds {
        count: 100,
        ..UNBOUNDED
    })));
    let lobby = topic("lobby");
    it.subscribe(&lobby);

    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (it, lobby) = (&it, &lobby);
            scope.spawn(move || {
                for number in 0..EACH {
                    let payload = format!("{thread} {number}");
                    // Full is the answer to a thread that is faster than the sink.
                    while it.publish(lobby, payload.as_bytes()) == Err(Failure::Full) {
                        std::thread::yield_now();
                    }
                }
            });
        }
    });

    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while it.sink.heard.lock().unwrap().len() < THREADS * EACH {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    let mut next = [0; THREADS];
    for (heard, offset) in it.sink.take().into_iter().zip(1_u64..) {
        let Heard::Publication(payload, Some(at)) = heard else {
            panic!("{heard:?}");
        };
        assert_eq!(at, offset);
        let payload = String::from_utf8(payload).unwrap();
        let (thread, number) = payload.split_once(' ').unwrap();
        let next = &mut next[thread.parse::<usize>().unwrap()];
        assert_eq!(number.parse(), Ok(*next), "each publisher's order is kept");
        *next += 1;
    }
    assert_eq!(next, [EACH; THREADS]);
}

#[test]
fn a_panic_of_the_sink_or_of_an_answer_holds_up_nothing() {
    let it = Arc::new(Fixture::new(Some(UNBOUNDED)));
    let lobby = topic("lobby");
    it.subscribe(&lobby);
    on_hearing(&it, heard("1", 1), |it| {
        it.publish(&topic("lobby"), b"2").unwrap();
        panic!("a fault of the sink");
    });

    let caught = catch_unwind(AssertUnwindSafe(|| it.publish(&lobby, b"1")));
    assert!(caught.is_err());
    assert_eq!(it.sink.take(), [heard("1", 1)]);
    it.sweep();
    assert_eq!(it.sink.take(), [heard("2", 2)]);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let publication = it.publication(&lobby, b"3");
        let fault: Done<StreamPosition> = Box::new(|_| panic!("a fault of an answer"));
        it.engine.publish_acked(publication, fault);
    }));
    assert!(caught.is_err());

    it.publish(&lobby, b"4").unwrap();
    assert_eq!(it.sink.take(), [heard("3", 3), heard("4", 4)]);
}

/// Has the sink call `then` when it hears `what`.
fn on_hearing(it: &Arc<Fixture>, what: Heard, then: impl Fn(&Fixture) + Send + Sync + 'static) {
    let within = Arc::downgrade(it);
    let _ = it.sink.then.set(Box::new(move |heard| {
        if *heard == what {
            then(&within.upgrade().expect("a test under way"));
        }
    }));
}
