//! What the server sends faster than the kernel takes it.

use super::*;

#[tokio::test]
async fn what_the_kernel_does_not_take_waits_and_leaves_in_its_order() {
    let setup = Setup::new();
    let (socket, mut server) = setup.narrow_pair();
    let config = setup.client_config(&TLS13);
    let (go_on, wait) = std::sync::mpsc::channel();
    let thread = on_thread(move || {
        let mut client = client(config, socket);
        client.write_all(b"?").unwrap();
        wait.recv().unwrap();
        let mut all = vec![0; 400_000];
        client.read_exact(&mut all).unwrap();
        all
    });
    hear_one_byte(&mut server).await;

    let plain = pattern(400_000);
    let mut sent = 0;
    // Until the kernel takes nothing at all.
    let error = loop {
        match server.send(&plain[sent..]) {
            Ok(length) => sent += length,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(sent < 300_000, "{sent}");
    let unsent = server.unsent.len() - server.sent;
    assert!((1..=66 * 1024).contains(&unsent), "{unsent}");
    assert!(server.unsent_plain <= PLAIN_BYTES_MAX);

    go_on.send(()).unwrap();
    server.write_all(&plain[sent..]).await.unwrap();
    assert!(joined(thread).await == plain);
    assert_holds_no_buffer(&server);
}

#[tokio::test]
async fn records_that_leave_in_a_receive_are_not_sent_again() {
    let setup = Setup::new();
    let (socket, mut server) = setup.narrow_pair();
    let config = setup.client_config(&TLS13);
    let (go_on, wait) = std::sync::mpsc::channel();
    let thread = on_thread(move || {
        let mut client = client(config, socket);
        client.write_all(b"?").unwrap();
        wait.recv().unwrap();
        let mut all = vec![0; 400_000];
        // Bytes go both ways, as with an echo.
        for part in all.chunks_mut(4_000) {
            client.read_exact(part).unwrap();
            client.write_all(b"!").unwrap();
        }
        all
    });
    hear_one_byte(&mut server).await;

    let plain = pattern(400_000);
    let mut sent = 0;
    while let Ok(length) = server.send(&plain[sent..]) {
        sent += length;
    }
    assert_ne!(server.unsent_plain, 0);
    go_on.send(()).unwrap();
    // Each receive offers the kernel what waits, until all of it has left.
    let mut received = 0;
    while !server.unsent.is_empty() {
        received += read(&mut server, 1).await.len();
    }
    server.write_all(&plain[sent..]).await.unwrap();

    read(&mut server, 100 - received).await;
    assert!(joined(thread).await == plain);
}
