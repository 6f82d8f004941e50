use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn queue(each_round: usize) -> Queue {
    Queue {
        each_round,
        ..Queue::default()
    }
}

/// A pacer of which the test makes the rounds.
fn pacer(each_round: usize) -> Pacer {
    Pacer {
        queue: Mutex::new(queue(each_round)),
        ..Pacer::new(1)
    }
}

/// The next round, and how many go on in it.
fn round(queue: &mut Queue) -> usize {
    let mut going_on = Vec::new();
    queue.next_round(Waker::noop(), &mut going_on);
    going_on.len()
}

#[test]
fn a_few_begin_at_once_in_each_millisecond_and_none_before_one_that_waits() {
    let (mut queue, now) = (queue(3), Moment::ORIGIN);
    let begun = |queue: &mut Queue, now| (0..10).filter(|_| queue.may_begin(now)).count();

    assert_eq!(begun(&mut queue, now), 3);
    assert_eq!(begun(&mut queue, now.after(1)), 3);

    queue.wait(7, Waker::noop());
    assert_eq!(begun(&mut queue, now.after(2)), 0);
    assert_eq!(round(&mut queue), 1);
    assert_eq!(begun(&mut queue, now.after(2)), 3);
}

#[test]
fn those_that_wait_go_on_in_their_order_a_few_in_each_round() {
    let pacer = pacer(3);
    let ids = [5, 1, 9, 2, 8, 3, 4];
    // Only the first call of each has an effect.
    ids.iter()
        .chain(&ids)
        .for_each(|id| pacer.wait(*id, Waker::noop()));
    let come = || ids.iter().take_while(|id| pacer.has_come(**id)).count();

    let mut seen = vec![come()];
    for _ in 0..4 {
        round(&mut pacer.lock());
        seen.push(come());
    }

    assert_eq!(seen, [0, 3, 6, 7, 7]);
}

#[test]
fn the_more_wait_the_more_go_on_in_a_round_up_to_a_bound() {
    let mut queue = queue(3);
    for (waiting, each_round) in [(64, 3), (330, 10), (2_000, 24)] {
        queue.waiting.clear();
        queue.ids.clear();
        (0..waiting).for_each(|id| drop(queue.wait(id, Waker::noop())));
        let rounds = [round(&mut queue), round(&mut queue)];
        assert_eq!(rounds, [each_round; 2], "{waiting}");
    }

    let mut rounds = 0;
    while round(&mut queue) > 0 {
        rounds += 1;
    }
    // 2,000 at three a round would take 667.
    assert!(rounds < 250, "{rounds}");
}

#[test]
fn the_task_of_the_rounds_is_woken_once_by_the_first_that_waits() {
    let (mut queue, rounds) = (queue(3), Arc::new(Count::default()));
    let waker = Waker::from(rounds.clone());
    queue.next_round(&waker, &mut Vec::new());
    let wait = |queue: &mut Queue, id| {
        queue
            .wait(id, Waker::noop())
            .into_iter()
            .for_each(Waker::wake)
    };

    (0..5).for_each(|id| wait(&mut queue, id));
    assert_eq!(rounds.get(), 1);
    assert_eq!((round(&mut queue), round(&mut queue)), (3, 2));
    queue.next_round(&waker, &mut Vec::new());
    wait(&mut queue, 5);
    assert_eq!(rounds.get(), 2);
}

#[test]
fn every_task_may_begin_where_there_are_no_rounds() {
    let pacer = Pacer::new(1);

    assert!((0..100).all(|_| pacer.may_begin()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn all_tasks_of_a_crowd_go_on_also_when_some_of_them_are_dropped() {
    const TASKS: u64 = 2_000;
    let pacer = Arc::new(Pacer::new(8));
    let rounds = pacer.clone();
    tokio::spawn(async move { rounds.run(1).await });
    while pacer.lock().rests.is_none() {
        wakes::yield_now().await;
    }

    let tasks: Vec<_> = (0..TASKS)
        .map(|id| {
            let (pacer, mut waits) = (pacer.clone(), false);
            tokio::spawn(poll_fn(move |cx| {
                if pacer.may_begin() || waits && pacer.has_come(id) {
                    return Poll::Ready(());
                }
                if !std::mem::replace(&mut waits, true) {
                    pacer.wait(id, cx.waker());
                }
                Poll::Pending
            }))
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        match number % 3 {
            0 => task.abort(),
            _ => task.await.expect("it is not aborted"),
        }
    }
}

#[tokio::test]
async fn the_one_that_awaits_its_beginning_goes_on_in_its_round() {
    let pacer = pacer(1);
    pacer.begin().await;
    let mut cx = std::task::Context::from_waker(Waker::noop());
    // Of a millisecond that goes on.
    pacer.wait(u64::MAX, Waker::noop());
    let (mut first, mut second) = (std::pin::pin!(pacer.begin()), std::pin::pin!(pacer.begin()));
    let mut come =
        || [first.as_mut().poll(&mut cx), second.as_mut().poll(&mut cx)].map(|it| it.is_ready());

    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(come());
        round(&mut pacer.lock());
    }

    assert_eq!(seen, [[false, false], [false, false], [true, false]]);
}
