//! Sending to a session from elsewhere, by its handle.

use super::*;

/// Gives the handles of its sessions to the test.
pub(super) struct Exchange(std::sync::Mutex<mpsc::Sender<Handle>>);
pub(super) struct Traded;

impl Handler for Exchange {
    type Session = Traded;

    fn new(_: Config) -> Result<Self> {
        Err("made by the test".into())
    }
    fn open(&self, conn: &mut Conn, _: &Request) -> Result<Traded> {
        let _ = self.0.lock().unwrap().send(conn.handle());
        Ok(Traded)
    }
}

impl Session for Traded {
    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        let peer = conn.handle();
        let message = message.to_buf();
        let job = move |_| {
            let _ = peer.send(message);
        };
        wsh::spawn(job).unwrap();
        Ok(())
    }
}

#[test]
fn a_handler_that_cannot_be_made_is_not_loaded_and_says_why() {
    let error = wsh::test::load(wsh::descriptor!(Exchange), "{}").unwrap_err();
    assert_eq!(error, "made by the test");
}

#[test]
fn a_session_is_reached_from_threads_until_it_is_over() {
    thread_local!(static PEERS: std::cell::RefCell<Vec<Handle>> = const { std::cell::RefCell::new(Vec::new()) });
    #[derive(Default)]
    struct Open;
    impl Session for Open {
        fn on_open(&mut self, conn: &mut Conn) -> Result {
            PEERS.with_borrow_mut(|peers| peers.push(conn.handle()));
            Ok(())
        }
        fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
            let (peer, message) = (conn.handle(), message.to_buf());
            wsh::spawn(move |_| {
                peer.send(message).unwrap();
                peer.close(4000, "from a thread").unwrap();
            })
            .unwrap();
            Ok(())
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Open));
    let mut client = server.connect();
    let peer = PEERS.take().remove(0);

    assert_eq!(peer.id(), client.id());
    assert_eq!(peer.send("direct"), Ok(8));
    assert!(matches!(peer.close(1005, ""), Err(Refused::Invalid(_))));
    assert_eq!(client.receive().unwrap(), "direct");
    client.send("around");

    assert_eq!(client.receive().unwrap(), "around");
    assert_eq!(client.receive(), None);
    assert_eq!(client.closed().unwrap().code, 4000);
    assert_eq!(peer.send("late"), Err(Refused::Gone));
    drop((client, server));
    assert_eq!(peer.send("later"), Err(Refused::Gone));
}

#[test]
fn an_inbox_that_is_full_takes_no_more() {
    thread_local!(static PEER: std::cell::RefCell<Option<Handle>> = const { std::cell::RefCell::new(None) });
    #[derive(Default)]
    struct Open;
    impl Session for Open {
        fn on_open(&mut self, conn: &mut Conn) -> Result {
            PEER.set(Some(conn.handle()));
            Ok(())
        }
        fn on_message(&mut self, _: &mut Conn, _: Message) -> Result {
            Ok(())
        }
    }
    let mut client = wsh::test::connect(wsh::descriptor!(Open));
    let peer = PEER.take().unwrap();

    assert_eq!(peer.send(vec![0; 1_000_000]), Ok(1_000_010));
    assert_eq!(peer.send(vec![0; 100_000]), Err(Refused::Full));
    assert!(client.receive().is_some());
    assert!(peer.send(vec![0; 100_000]).is_ok());
}
