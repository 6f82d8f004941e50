//! Memory that is no longer needed goes back to the system. `tests/memory_returns.py` is the long form: ten rounds of ten
//! thousand clients, bombs, clients that never read, and large messages.

use std::io::Write;
use std::time::Duration;

use crate::harness::client::Client;
use crate::harness::client_frame::frame;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::within;

const MIB: u64 = 1024;

/// Lets `count` clients do something at the same time. Waits until the server holds at most 8 MiB more than `before`.
fn comes_back(server: &Server, before: u64, clients: usize, act: impl Fn(&mut Client)) {
    let mut clients: Vec<Client> = (0..clients).map(|_| server.connect("/echo")).collect();
    clients.iter_mut().for_each(act);
    drop(clients);
    within(Duration::from_secs(20), "memory comes back", || {
        server.proc_status("VmRSS") <= before + 8 * MIB
    });
}

#[test]
fn memory_comes_back_when_the_clients_that_needed_it_have_left() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "[limits]\nmessage_bytes_max = 16777216\n");
    let server = Server::start(&site);
    // What the server makes for its first clients stays.
    server.connect("/echo").ask("hello");
    let before = server.proc_status("VmRSS");

    // Each client leaves most of its answers unread.
    comes_back(&server, before, 60, |client| {
        client.stream().set_nonblocking(true).expect("no waiting");
        let message = frame(0x82, &vec![0; 1 << 20]);
        let _ = (0..6).try_for_each(|_| client.stream().write_all(&message));
        std::thread::sleep(Duration::from_millis(5));
    });
    comes_back(&server, before, 2, |client| {
        client.send(vec![0; (1 << 24) - 1]);
        assert_eq!(client.receive().len(), (1 << 24) - 1);
    });
    let most = server.proc_status("VmHWM");
    assert!(
        most > before + 24 * MIB,
        "{most} KiB at most, {before} before"
    );
}
