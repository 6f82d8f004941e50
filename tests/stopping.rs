//! How a server leaves: load balancers hear of it first, then its sessions, and none of their clients is cut off.
//!
//! `WSHD_LONG=1 cargo test -p wshd --test integration stopping -- --nocapture` stops a server with 10,000 sessions, and says
//! when they were told.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::harness::client_frame::frame;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::{eventually, is_long};

const SOON: Duration = Duration::from_secs(10);

fn ask(server: &Server, line: &str) -> String {
    server.exchange(format!("{line} HTTP/1.0\r\n\r\n").as_bytes())
}

fn is_draining(server: &Server, line: &str) -> bool {
    let answer = ask(server, line);
    status_of(&answer) == 503 && answer.ends_with("\r\n\r\ndraining\n")
}

#[test]
fn load_balancers_hear_of_a_stop_while_clients_can_still_connect() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "[limits]\nstop_delay_ms = 120000\n");
    let mut server = Server::start(&site);
    let mut before = server.connect("/echo");
    assert_eq!(status_of(&ask(&server, "GET /.wshd/ready")), 200);

    server.signal("TERM");

    eventually("it says so", || is_draining(&server, "GET /.wshd/ready"));
    server.line(&["not ready any more", "delay_ms=120000"]);
    assert!(is_draining(&server, "OPTIONS /"));
    assert!(is_draining(&server, "OPTIONS *"));
    assert_eq!(status_of(&ask(&server, "HEAD /.wshd/ready")), 503);
    assert_eq!(status_of(&ask(&server, "GET /.wshd/health")), 200);
    assert_eq!(server.connect("/echo").ask("late"), "late");
    assert_eq!(before.ask("early"), "early");
    // A second signal does not wait for the delay of the first.
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(20)).code(), Some(130));
}

#[test]
fn sessions_are_closed_when_the_time_for_load_balancers_is_over() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "[limits]\nstop_delay_ms = 300\n");
    let mut server = Server::start(&site);
    let mut client = server.connect("/echo");

    server.signal("TERM");

    assert_eq!(client.close_code(), 1001);
    assert_eq!(server.wait(SOON).code(), Some(0));
}

/// What is read until the server ends the connection. It must not reset it.
#[track_caller]
fn read_to_the_end(mut socket: std::net::TcpStream) -> String {
    let mut answer = Vec::new();
    socket
        .read_to_end(&mut answer)
        .expect("an answer and no reset");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn clients_that_connect_while_the_server_stops_are_answered_and_none_is_reset() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "[limits]\nclose_timeout_ms = 100\n");
    let mut server = Server::start(&site);
    // All of them wait to be accepted when the signal comes.
    server.signal("STOP");
    let mut clients: Vec<_> = (0..200).map(|_| server.raw()).collect();
    let (whole, late) = clients.split_at_mut(150);
    for socket in whole {
        let request = opening("/echo", "");
        socket.write_all(request.as_bytes()).expect("a request");
    }
    server.signal("TERM");

    server.signal("CONT");

    for socket in late {
        let request = opening("/echo", "");
        socket.write_all(request.as_bytes()).expect("a request");
    }
    for socket in clients {
        let answer = read_to_the_end(socket);
        match status_of(&answer) {
            503 => assert!(answer.contains("\r\nRetry-After: "), "{answer}"),
            // It was accepted before the stop.
            status => assert_eq!(status, 101, "{answer}"),
        }
    }
    assert_eq!(server.wait(SOON).code(), Some(0));
}

#[test]
fn a_client_whose_request_is_under_way_when_the_server_stops_is_told_when_to_come_back() {
    let site = Site::with(&["echo_wsh"]);
    let mut server = Server::start(&site);
    let mut client = server.raw();
    let request = opening("/echo", "");
    let (first, rest) = request.split_at(20);
    client.write_all(first.as_bytes()).expect("half a request");
    assert_eq!(server.handshake_status("/echo"), 101);

    server.signal("TERM");
    server.line(&["stopping", "sessions="]);
    client.write_all(rest.as_bytes()).expect("the rest");

    let answer = read_to_the_end(client);
    assert_eq!(status_of(&answer), 503, "{answer}");
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    assert_eq!(server.wait(SOON).code(), Some(0));
}

#[test]
fn a_request_with_a_body_that_is_refused_by_a_server_that_stops_gets_its_answer() {
    let site = Site::with(&["echo_wsh"]);
    let mut server = Server::start(&site);
    server.signal("STOP");
    let mut client = server.raw();
    server.signal("TERM");
    server.signal("CONT");

    // The body is more than what is read with the head.
    let head = "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n";
    client.write_all(head.as_bytes()).expect("a head");
    client.write_all(&[b'x'; 300_000]).expect("a body");

    let answer = read_to_the_end(client);
    // It may have been accepted before the stop.
    assert!([426, 503].contains(&status_of(&answer)), "{answer}");
    assert_eq!(server.wait(SOON).code(), Some(0));
}

#[test]
fn a_client_that_says_nothing_holds_up_a_stop_for_a_moment_only() {
    let site = Site::with(&["echo_wsh"]);
    let mut server = Server::start(&site);
    let silent = server.raw();
    assert_eq!(server.handshake_status("/echo"), 101);

    server.signal("TERM");

    assert_eq!(server.wait(SOON).code(), Some(0));
    assert_eq!(read_to_the_end(silent), "");
    server.says(&["stopped waiting for connections"], 0);
}

/// How one session ended, as its client saw it.
struct Ending {
    told_after: Duration,
    code: u16,
    /// The connection ended without a reset after both Close frames.
    is_clean: bool,
}

async fn open(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    let request = opening("/echo", "");
    let sent = socket.write_all(request.as_bytes()).await;
    sent.expect("sending a handshake");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(socket.read_u8().await.expect("an answer"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    socket
}

/// Waits for the server's Close frame, and does the client's part of the closing handshake.
async fn be_closed(mut socket: TcpStream, began: Instant) -> Ending {
    let mut head = [0; 4];
    let read = socket.read_exact(&mut head).await;
    let told_after = began.elapsed();
    read.expect("a Close frame");
    assert_eq!(head[0], 0x88, "the first frame is the Close frame");
    let code = u16::from_be_bytes([head[2], head[3]]);
    let answer = frame(0x88, &code.to_be_bytes());
    let sent = socket.write_all(&answer).await.is_ok();
    let rest = socket.read(&mut head).await;
    Ending {
        told_after,
        code,
        is_clean: sent && matches!(rest, Ok(0)),
    }
}

fn sessions(runtime: &Runtime, server: &Server, count: usize) -> Vec<TcpStream> {
    let address = SocketAddr::from(([127, 0, 0, 1], server.port()));
    runtime.block_on(async {
        let mut open_ones = Vec::new();
        for _ in 0..count {
            open_ones.push(open(address).await);
        }
        open_ones
    })
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

#[test]
fn every_one_of_many_sessions_is_told_at_a_moment_of_its_own_and_ends_in_good_order() {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let (count, batch) = if is_long() {
        (10_000, 5_000)
    } else {
        (400, 200)
    };
    let site = Site::with(&["echo_wsh"]);
    let config = format!("[limits]\nconnections_max = 20000\nstop_batch_sessions = {batch}\n");
    site.write("config.toml", &config);
    let mut server = Server::start(&site);
    let runtime = runtime();
    let sockets = sessions(&runtime, &server, count);

    let began = Instant::now();
    server.signal("TERM");

    let endings: Vec<Ending> = runtime.block_on(async {
        let ends = sockets
            .into_iter()
            .map(|it| tokio::spawn(be_closed(it, began)));
        let mut endings = Vec::new();
        for end in ends.collect::<Vec<_>>() {
            endings.push(end.await.expect("a Close frame"));
        }
        endings
    });
    let status = server.wait(Duration::from_secs(30));
    let ended_after = began.elapsed();

    assert_eq!(status.code(), Some(0));
    let told = |from: u64, to: u64| {
        let span = Duration::from_millis(from)..Duration::from_millis(to);
        let told = endings.iter().filter(|it| span.contains(&it.told_after));
        told.count()
    };
    let halves = [told(0, 1_000), told(1_000, 2_000), told(2_000, 3_000)];
    let rest = count - halves.iter().sum::<usize>();
    let clean = endings.iter().filter(|it| it.is_clean).count();
    eprintln!(
        "{count} sessions: {halves:?} told in each second, {rest} later; {clean} ended cleanly; the server after {ended_after:?}"
    );
    assert!(endings.iter().all(|it| it.code == 1001));
    assert!(clean * 100 >= count * 99, "{clean} of {count}");
    // A machine that is busy may tell them later, and never earlier.
    assert!(halves[0] < count * 2 / 5, "{halves:?}");
    assert!(halves[0] + halves[1] < count * 3 / 5, "{halves:?}");
    server.line(&["stopping", &format!("sessions={count}")]);
}

#[test]
fn more_sessions_than_batches_can_tell_in_time_are_told_faster() {
    let site = Site::with(&["echo_wsh"]);
    let limits = "stop_timeout_ms = 2000\nstop_batch_sessions = 1\nclose_timeout_ms = 1000\n";
    site.write("config.toml", &format!("[limits]\n{limits}"));
    let mut server = Server::start(&site);
    let runtime = runtime();
    let sockets = sessions(&runtime, &server, 30);

    let began = Instant::now();
    server.signal("TERM");

    runtime.block_on(async {
        for socket in sockets {
            let ending = be_closed(socket, began).await;
            assert_eq!(ending.code, 1001);
        }
    });
    assert_eq!(server.wait(SOON).code(), Some(0));
    server.line(&["more than `stop_batch_sessions` are told to close"]);
    let cut_off = server.count_lines(&["`stop_timeout_ms` is over"]);
    assert_eq!(cut_off, 0, "{}", server.log());
}
