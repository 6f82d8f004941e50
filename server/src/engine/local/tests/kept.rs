//! Members and kept values, as far as their modules do not show it.

use super::*;

#[test]
fn the_version_of_the_members_never_goes_back() {
    let it = Fixture::new(None);
    let lobby = topic("lobby");
    it.subscribe(&lobby);
    assert_eq!(it.enter(&lobby, 7, b"ann"), Ok(1));
    assert_eq!(it.enter(&lobby, 7, b"ann"), Ok(1));
    assert_eq!(it.enter(&lobby, 7, b"Ann"), Ok(2));
    it.engine.leave(&lobby, 7);
    assert_eq!(it.enter(&lobby, 8, b"ben"), Ok(4));
    it.engine.leave(&lobby, 8);
    assert_eq!(it.present(&lobby).version, 5);
    it.engine.unsubscribe(&lobby);

    // Nothing is left of the topic.
    assert_eq!(it.present(&lobby).version, 5);
    assert_eq!(it.enter(&lobby, 7, b"ann"), Ok(6));
}

#[test]
fn one_of_a_hundred_puts_at_a_time_wins() {
    let it = Fixture::new(None);
    let first = put(&it, "key", Condition::Version(0)).unwrap();

    let won = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| match put(&it, "key", Condition::Version(first)) {
                Ok(_) => drop(won.fetch_add(1, Ordering::Relaxed)),
                Err(failure) => assert!(matches!(failure, Failure::Conflict { .. })),
            });
        }
    });

    assert_eq!(won.into_inner(), 1);
}

#[test]
fn a_value_frees_its_memory_when_its_time_is_over() {
    let it = Fixture::new(None);
    for key in 0..2_500 {
        let time = (key % 2 == 0).then_some(Duration::from_secs(1));
        put_for(&it, &key.to_string(), Condition::Always, time).unwrap();
    }

    it.pass(1_000);
    it.sweep();

    assert_eq!(it.usage().keys, 1_250);
}
