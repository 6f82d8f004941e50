//! Values by keys, their versions and their time.

use std::time::Duration;

use super::{Asker, ask};

#[test]
fn a_value_is_changed_only_if_it_has_the_version_that_is_named() {
    let mut client = wsh::test::connect(wsh::descriptor!(Asker));

    assert_eq!(ask(&mut client, "30 put_if a x 0"), ["30: 1"]);
    assert_eq!(ask(&mut client, "30 put_if a x 0"), ["30: conflict with 1"]);
    assert_eq!(ask(&mut client, "30 put_if a y 1"), ["30: 2"]);
    assert_eq!(ask(&mut client, "40 get a"), [r#"40: Ok(Some("y"))"#]);
    assert_eq!(ask(&mut client, "30 delete a"), ["30: 3"]);
    assert_eq!(ask(&mut client, "30 put_if a z 2"), ["30: conflict with 0"]);
    assert_eq!(ask(&mut client, "30 put a z"), ["30: 4"]);
    assert_eq!(ask(&mut client, "90 list a 9"), ["90: 1"]);
}

#[test]
fn a_value_lasts_for_its_time_and_outlives_a_reload() {
    let server = wsh::test::serve(wsh::descriptor!(Asker));
    let mut client = server.connect();
    client.send("80 lasting short x 1000");
    client.send("80 put long x");

    server.advance(Duration::from_millis(999));
    server.reload(wsh::descriptor!(Asker)).unwrap();
    assert_eq!(ask(&mut client, "90 list - 9"), ["90: 0"]);
    assert_eq!(ask(&mut client, "40 get short"), [r#"40: Ok(Some("x"))"#]);
    server.advance(Duration::from_millis(1));
    assert_eq!(ask(&mut client, "40 get short"), ["40: Ok(None)"]);
    assert_eq!(server.store()[0].key, "long");
}
