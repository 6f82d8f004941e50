//! Downloads that are slow or are not read: what they take, what ends them, and what a stop makes of them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{ask, serve};
use crate::harness::is_long;
use crate::harness::server::Server;
use crate::harness::site::Site;

/// Begins a download and reads nothing more of it.
fn stalled(server: &Server, path: &str) -> TcpStream {
    let mut stream = server.raw();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request");
    let mut start = [0; 12];
    stream.read_exact(&mut start).expect("an answer");
    assert_eq!(start, *b"HTTP/1.1 200");
    stream
}

#[test]
fn downloads_that_are_not_read_take_no_memory_and_hold_no_other_request_up() {
    let site = Site::with(&["echo_wsh"]);
    let large = site.write("www/large", "");
    let file = std::fs::File::options().write(true).open(large);
    file.and_then(|file| file.set_len(1 << 30))
        .expect("a gigabyte of nothing");
    site.write("www/small", "small");
    site.write("config.toml", "[limits]\nconnections_max = 4000\n");
    let server = serve(&site);
    let count = if is_long() { 3_000 } else { 200 };
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
    drop(stalled(&server, "/large"));
    let before = server.proc_status("VmRSS");

    let stalled: Vec<TcpStream> = (0..count).map(|_| stalled(&server, "/large")).collect();

    assert!(ask(&server, "GET", "/small", "").ends_with("small"));
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
    let kept = server.proc_status("VmRSS").saturating_sub(before);
    if is_long() {
        eprintln!("{count} downloads that are not read take {kept} KiB");
    }
    assert!(
        kept < 8 * 1024 + count * 8,
        "{kept} KiB for {count} downloads"
    );
    drop(stalled);
    assert!(ask(&server, "GET", "/small", "").ends_with("small"));
}

/// Asks for `/large`, with a receive buffer that holds next to nothing.
fn asks_with_a_small_buffer(server: &Server) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a buffer");
    let address: std::net::SocketAddr = ([127, 0, 0, 1], server.port()).into();
    socket.connect(&address.into()).expect("the server listens");
    let mut stream = TcpStream::from(socket);
    write!(stream, "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request");
    stream
}

#[test]
fn a_download_that_moves_goes_on_and_one_that_does_not_ends_by_its_key() {
    let site = Site::empty();
    let large = site.write("www/large", "");
    let file = std::fs::File::options().write(true).open(large);
    file.and_then(|file| file.set_len(1 << 30))
        .expect("a gigabyte of nothing");
    let limits = "log_level = \"debug\"\n[limits]\noutbound_timeout_ms = 600\n";
    site.write("config.toml", limits);
    let server = serve(&site);

    let deaf = asks_with_a_small_buffer(&server);
    let mut slow = asks_with_a_small_buffer(&server);
    let began = Instant::now();
    let mut read = 0;
    while began.elapsed() < Duration::from_millis(2_000) {
        std::thread::sleep(Duration::from_millis(50));
        read += slow.read(&mut [0; 1_024]).expect("it goes on");
    }

    assert!(read > 20_000, "{read}");
    server.line(&["file not sent", "the peer takes nothing"]);
    assert_eq!(
        server.count_lines(&["file not sent"]),
        1,
        "{}",
        server.log()
    );
    // A changed limit applies to the next download at once.
    drop((slow, deaf));
    site.write("config.toml", "log_level = \"debug\"\n");
    server.line(&["configuration applied"]);
    let before = server.count_lines(&["the peer takes nothing"]);
    let _deaf = asks_with_a_small_buffer(&server);
    std::thread::sleep(Duration::from_millis(1_000));
    assert_eq!(server.count_lines(&["the peer takes nothing"]), before);
}

/// Starts a server of 30 MB at `/large`, with these limits.
fn serve_large(site: &Site, limits: &str) -> Server {
    let large = site.write("www/large", "");
    let file = std::fs::File::options().write(true).open(large);
    file.and_then(|file| file.set_len(LARGE_BYTES))
        .expect("a large file");
    site.write("config.toml", &format!("[limits]\n{limits}"));
    serve(site)
}

const LARGE_BYTES: u64 = 30 << 20;
/// How long a stop takes at most on a busy machine when nothing holds it up.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn a_download_that_is_not_read_holds_a_stop_for_the_close_timeout_only() {
    let site = Site::empty();
    let mut server = serve_large(&site, "close_timeout_ms = 700\n");
    let _deaf = [
        asks_with_a_small_buffer(&server),
        stalled(&server, "/large"),
    ];

    let began = Instant::now();
    server.signal("TERM");

    assert_eq!(server.wait(SOON).code(), Some(0));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(700), "{took:?}");
    assert_eq!(server.count_lines(&["stopped waiting"]), 0);
}

#[test]
fn a_download_that_moves_is_finished_while_the_server_stops() {
    let site = Site::empty();
    let mut server = serve_large(&site, "close_timeout_ms = 400\n");
    let mut slow = asks_with_a_small_buffer(&server);
    let mut start = [0; 12];
    slow.read_exact(&mut start).expect("an answer");

    server.signal("TERM");
    server.line(&["stopping"]);
    let (began, mut read, mut part) = (Instant::now(), 0, vec![0; 256 * 1024]);
    loop {
        let length = slow.read(&mut part).expect("it goes on");
        if length == 0 {
            break;
        }
        read += length as u64;
        // It reads for twice the time that a download without progress has.
        if began.elapsed() < Duration::from_millis(800) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    assert!(read > LARGE_BYTES, "{read}");
    assert!(began.elapsed() >= Duration::from_millis(800));
    assert_eq!(server.wait(SOON).code(), Some(0));
}

#[test]
fn a_stop_does_not_wait_for_half_requests_or_for_peers_that_have_their_answer() {
    let site = Site::with(&["echo_wsh"]);
    site.write("www/small", "small");
    let limits = "[limits]\nclose_timeout_ms = 20000\n";
    site.write("config.toml", limits);
    let mut server = serve(&site);
    let (_silent, mut half) = (server.raw(), server.raw());
    half.write_all(b"GET /small HTT").expect("half a request");
    let mut open = [stalled(&server, "/small"), server.raw()];
    write!(open[1], "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request");
    open[1].read_exact(&mut [0; 12]).expect("an answer");

    let began = Instant::now();
    server.signal("TERM");

    assert_eq!(server.wait(SOON).code(), Some(0));
    let took = began.elapsed();
    // Half a request has a second to be whole. A session has `close_timeout_ms`.
    assert!(took < Duration::from_secs(10), "{took:?}");
    let mut rest = String::new();
    open[0].read_to_string(&mut rest).expect("no reset");
    assert!(rest.ends_with("small"), "{rest}");
}

#[test]
fn a_stop_that_takes_too_long_says_what_it_waited_for() {
    let site = Site::with(&["echo_wsh"]);
    let limits = "stop_timeout_ms = 500\nclose_timeout_ms = 20000\n";
    let mut server = serve_large(&site, limits);
    let _deaf = [
        asks_with_a_small_buffer(&server),
        stalled(&server, "/large"),
    ];
    let _silent = crate::harness::client::Raw::open(&server, "/echo");

    server.signal("TERM");

    server.line(&[
        "stopped waiting for connections",
        "sessions=1 downloads=2 others=0",
    ]);
    assert_eq!(server.wait(SOON).code(), Some(0));
}
