//! Shared payloads, on the server of `wsh::test`.

use std::sync::Arc;

use wsh::{abi::Descriptor, prelude::*};

fn large() -> Arc<[u8]> {
    vec![7; 600_000].into()
}

struct Store {
    bytes: Arc<[u8]>,
    text: Arc<str>,
}

impl Store {
    fn new() -> Self {
        Store {
            bytes: large(),
            text: "shared text".into(),
        }
    }
}

impl Shared for Store {
    fn new(_: Config) -> Result<Self> {
        Ok(Store::new())
    }
}

struct Sender(Store);

impl Handler for Store {
    type Session = Sender;

    fn new(_: Config) -> Result<Self> {
        Ok(Store::new())
    }
    fn open(&self, _: &mut Conn, _: &Request) -> Result<Sender> {
        Ok(Sender(Store {
            bytes: Arc::clone(&self.bytes),
            text: Arc::clone(&self.text),
        }))
    }
}

impl Session for Sender {
    fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
        conn.send(&self.0.text)?;
        conn.send(Arc::clone(&self.0.text))?;
        conn.send(&self.0.bytes)?;
        conn.handle().send(Uncompressed(&self.0.bytes))?;
        Ok(())
    }
}

async fn send(conn: &mut AsyncConn, shared: &Store) -> Result {
    while conn.recv().await.is_some() {
        conn.send(&shared.text).await?;
        conn.send(Arc::clone(&shared.text)).await?;
        for _ in 0..2 {
            conn.send(Uncompressed(Arc::clone(&shared.bytes))).await?;
        }
        assert_eq!(Arc::strong_count(&shared.bytes), 1);
    }
    Ok(())
}

fn send_blocking(conn: BlockingConn, shared: &Store) -> Result {
    for _ in &conn {
        conn.send(&shared.text)?;
        conn.send(Arc::clone(&shared.text))?;
        for _ in 0..2 {
            conn.send(Uncompressed(&shared.bytes))?;
        }
        assert_eq!(Arc::strong_count(&shared.bytes), 1);
    }
    Ok(())
}

fn every_sender() -> [Descriptor; 3] {
    [
        wsh::descriptor!(Store),
        wsh::descriptor!(async send, shared = Store),
        wsh::descriptor!(blocking send_blocking, shared = Store),
    ]
}

#[test]
fn a_shared_payload_arrives_unchanged_as_often_as_it_is_sent() {
    for handler in every_sender() {
        let mut client = wsh::test::connect(handler);
        client.send("go");
        for _ in 0..2 {
            let text = client.receive().unwrap();
            assert_eq!(text.as_text(), Some("shared text"));
        }
        for _ in 0..2 {
            let message = client.receive().unwrap();
            assert_eq!((message.as_text(), message.as_bytes()), (None, &*large()));
        }
    }
}

#[test]
fn a_payload_that_waits_to_be_sent_is_held_and_not_copied() {
    static PAYLOAD: std::sync::OnceLock<Arc<[u8]>> = std::sync::OnceLock::new();

    async fn flood(conn: &mut AsyncConn) -> Result {
        let payload = PAYLOAD.get_or_init(large);
        conn.recv().await;
        // Nothing waits for the peer, so the first is queued at once. The next one does not fit beside it.
        drop(conn.send(payload));
        conn.send(Arc::clone(payload)).await?;
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async flood));
    client.stall();
    client.send("go");
    let payload = PAYLOAD.get().expect("it began");

    assert_eq!(Arc::strong_count(payload), 2);
    client.resume();

    for _ in 0..2 {
        assert_eq!(client.receive().unwrap().len(), 600_000);
    }
    assert_eq!(client.receive(), None);
    assert_eq!(Arc::strong_count(payload), 1);
}

#[cfg(feature = "bytes")]
#[test]
fn bytes_of_the_crate_bytes_are_sent_too() {
    #[derive(Default)]
    struct Slices;

    impl Session for Slices {
        fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
            let all = bytes::Bytes::copy_from_slice(message.as_bytes());
            conn.send(all.slice(1..3))?;
            conn.send(&all)?;
            Ok(())
        }
    }
    let mut client = wsh::test::connect(wsh::descriptor!(Slices));

    client.send(b"abcd");

    assert_eq!(client.receive().unwrap().as_bytes(), b"bc");
    assert_eq!(client.receive().unwrap().as_bytes(), b"abcd");
}
