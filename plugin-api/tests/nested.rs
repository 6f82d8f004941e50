//! Tests inside a handler's callbacks, and values that are dropped while a panic unwinds.

use std::cell::RefCell;

use wsh::{prelude::*, test::Client};

#[derive(Default)]
struct Deep;

impl Session for Deep {
    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        let depth: u32 = message.to_string().parse()?;
        if depth == 0 {
            conn.send("bottom")?;
            return Ok(());
        }
        let mut client = wsh::test::connect(wsh::descriptor!(Deep));
        client.send((depth - 1).to_string());
        let answer = client.receive().map(|message| message.to_string());
        wsh::info!("asked");
        conn.send(format!("{depth} {}", answer.unwrap_or_default()))?;
        Ok(())
    }
}

#[test]
fn a_callback_can_run_a_test_of_its_own() {
    let server = wsh::test::serve(wsh::descriptor!(Deep));
    let mut client = server.connect();
    client.send("2");
    assert_eq!(client.receive().unwrap(), "2 1 bottom");
    // After the nested test the thread belongs to the outer handler again.
    let log = server.log();
    assert_eq!(log.iter().filter(|line| line.message == "asked").count(), 1);
}

thread_local! {
    static OTHER: RefCell<Option<Client>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Drops;

impl Session for Drops {
    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        let other = OTHER.take();
        match message.as_text() {
            Some("drop") => drop(other),
            Some("use") => other.expect("it is there").send("x"),
            _ => panic!("first"),
        }
        conn.send("unreached")?;
        Ok(())
    }
}

#[test]
fn a_client_that_is_used_in_a_callback_of_its_own_server_panics_and_harms_no_other_session() {
    for says in ["drop", "use", "panic"] {
        let server = wsh::test::serve(wsh::descriptor!(Drops));
        let mut client = server.connect();
        OTHER.set(Some(server.connect()));

        client.send(says);

        assert_eq!(client.receive(), None, "{says}");
        assert_eq!(
            client.closed().map(|close| close.code),
            Some(1011),
            "{says}"
        );
    }
}

/// A value whose `Drop` attaches another one of its type, and panics.
struct Thorny;

impl Drop for Thorny {
    fn drop(&mut self) {
        panic!("thorny");
    }
}

#[test]
fn a_replaced_attachment_may_panic_in_its_drop_while_another_panic_unwinds() {
    struct OnTheWayOut<'a>(&'a mut Conn);
    impl Drop for OnTheWayOut<'_> {
        fn drop(&mut self) {
            self.0.attach(Thorny);
            assert!(self.0.attached::<Thorny>().is_some());
        }
    }
    #[derive(Default)]
    struct Panics;
    impl Session for Panics {
        fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
            conn.attach(Thorny);
            let _out = OnTheWayOut(conn);
            panic!("first");
        }
    }
    let mut client = wsh::test::connect(wsh::descriptor!(Panics));
    client.send("x");
    assert_eq!(client.closed().map(|close| close.code), Some(1011));
}
