//! Publications to sessions that sleep, that are slow, that come and go, and what others notice of them.

use std::io::Read;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::compile::compile;
use crate::harness::deflating::OFFER;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{is_long, patience};

/// Starts a server with the handler of publisher.c, and an echo.
fn publisher(config: &str) -> (Site, Server) {
    let site = Site::with(&["echo_wsh"]);
    let bytes = compile("tests/fixtures/c/publisher.c", &[]);
    site.add_bytes(&bytes, "publisher_wsh.so");
    site.write("config.toml", config);
    let server = Server::start(&site);
    (site, server)
}

/// A subscriber, which has its id and sleeps.
#[track_caller]
fn subscriber(server: &Server) -> (Raw, String) {
    let mut raw = Raw::open(server, "/publisher");
    raw.send(&frame(0x81, b"id"));
    let (_, id) = raw.frame().expect("the id");
    (raw, String::from_utf8(id).expect("a number"))
}

/// The number at the beginning of a publication.
#[track_caller]
fn number_of(publication: &[u8]) -> u64 {
    let text = std::str::from_utf8(publication).expect("text");
    let number = text.split(' ').next().and_then(|it| it.parse().ok());
    number.unwrap_or_else(|| panic!("`{}` has no number", &text[..text.len().min(40)]))
}

#[test]
fn what_is_sent_or_closed_by_id_does_not_overtake_what_was_published_before() {
    let (_site, server) = publisher("");
    let (mut target, id) = subscriber(&server);
    let mut sender = server.connect("/publisher");

    sender.send(format!("both {id} 50"));
    for number in 0..50 {
        for letter in ['p', 's'] {
            let (_, text) = target.frame().expect("a message");
            assert_eq!(String::from_utf8_lossy(&text), format!("{letter}{number}"));
        }
    }

    sender.send(format!("kick {id}"));
    assert_eq!(target.frame(), Some((0x81, b"last".to_vec())));
    assert_eq!(target.frame().map(|(first, _)| first), Some(0x88));
}

#[test]
fn a_subscriber_that_does_not_read_gets_everything_later_and_once_and_the_log_counts_its_bytes() {
    let (_site, server) = publisher("[limits]\noutbound_bytes_max = 100000000\n");
    let (mut slow, head) = Raw::open_with(&server, "/publisher", "");
    slow.send(&frame(0x81, b"id"));
    let id = slow.frame().map(|(_, id)| String::from_utf8(id));
    let id = id.expect("the id").expect("a number");
    let mut received = head.len() + 2 + id.len();
    let mut quick = server.connect("/publisher");
    let mut sender = server.connect("/publisher");

    // Short ones first, which leave while the subscriber sleeps; then more than any socket holds; then short ones again.
    for (count, bytes) in [(20, 100), (3_000, 10_000), (20, 100)] {
        assert_eq!(
            sender.ask(&format!("publish {count} {bytes} 0")),
            "published"
        );
        for _ in 0..count {
            assert_eq!(quick.receive().len(), bytes);
        }
    }
    for number in 0..3_040 {
        let (first, text) = slow.frame().expect("a publication");
        assert_eq!((first, number_of(&text)), (0x81, number));
        received += text.len() + 2 + 2 * usize::from(text.len() > 125);
    }
    assert_eq!(sender.ask("publish 1 100 0"), "published");
    assert_eq!(slow.frame().map(|(_, text)| number_of(&text)), Some(3_040));
    received += 102;

    slow.stream
        .shutdown(Shutdown::Both)
        .expect("an open socket");
    let session = format!("session={id} ");
    let line = server.line(&["session closed", &session]);
    let counted = line.split("bytes_out=").nth(1);
    let counted = counted.and_then(|it| it.split(' ').next()?.parse::<usize>().ok());
    assert_eq!(counted, Some(received), "{line}");
}

#[test]
fn a_subscriber_that_is_too_slow_for_what_is_published_ends_past_its_limit() {
    let (_site, server) = publisher("[limits]\noutbound_bytes_max = 100000\n");
    let (mut slow, _) = subscriber(&server);
    let mut quick = server.connect("/publisher");
    let mut sender = server.connect("/publisher");

    for _ in 0..60 {
        assert_eq!(sender.ask("publish 20 10000 0"), "published");
        for _ in 0..20 {
            assert_eq!(quick.receive().len(), 10_000);
        }
    }

    let mut next = 0;
    let code = loop {
        match slow.frame() {
            Some((0x81, text)) => assert_eq!(number_of(&text), next),
            Some((0x88, body)) => break body.first_chunk().map(|code| u16::from_be_bytes(*code)),
            other => panic!("{other:?} after {next} publications"),
        }
        next += 1;
    };
    assert_eq!(code, Some(1008));
    assert!((1..1_200).contains(&next), "{next}");
}

#[test]
fn a_publication_to_many_goes_on_while_its_publisher_blocks() {
    let (_site, server) = publisher("");
    let mut subscribers: Vec<_> = (0..200).map(|_| subscriber(&server).0).collect();
    let (mut sender, _) = subscriber(&server);

    let began = Instant::now();
    sender.send(&frame(0x81, b"publish 3 100 3000"));
    for subscriber in &mut subscribers {
        for number in 0..3 {
            let text = subscriber.frame().map(|(_, text)| number_of(&text));
            assert_eq!(text, Some(number));
        }
    }

    let took = began.elapsed();
    assert!(took < Duration::from_millis(2_500), "{took:?}");
}

#[test]
fn compressed_and_plain_subscribers_get_a_few_publications_together() {
    let (_site, server) = publisher("");
    let mut plain = subscriber(&server).0;
    let mut compressed = [(); 2].map(|()| Raw::open_with(&server, "/publisher", OFFER).0);
    let mut sender = server.connect("/publisher");

    for round in 0..3 {
        assert_eq!(sender.ask("publish 5 2000 0"), "published");
        for number in round * 5..round * 5 + 5 {
            let (first, text) = plain.frame().expect("a publication");
            assert_eq!((first, number_of(&text)), (0x81, number));
            let frames = compressed
                .each_mut()
                .map(|it| it.frame().expect("a publication"));
            assert_eq!(frames[0], frames[1]);
            assert_eq!(frames[0].0, 0xc1, "it is compressed");
            let mut inflated = [0; 3_000];
            let mut inflater = flate2::Decompress::new(false);
            let bytes = [&frames[0].1[..], &[0, 0, 0xff, 0xff]].concat();
            let flush = flate2::FlushDecompress::Sync;
            inflater
                .decompress(&bytes, &mut inflated, flush)
                .expect("deflate");
            assert_eq!(&inflated[..inflater.total_out() as usize], text);
        }
    }
}

#[test]
fn subscribers_that_come_and_go_cost_no_other_connection_a_byte() {
    let (_site, server) = publisher("");
    let (is_over, server) = (AtomicBool::new(false), &server);
    let goes_on = || !is_over.load(Ordering::Relaxed);
    let rounds = if is_long() { 3_000 } else { 300 };

    std::thread::scope(|scope| {
        // Connections that leave at any moment, so that their descriptors are used again at once.
        for leaver in 0..3 {
            scope.spawn(move || {
                while goes_on() {
                    let (mut raw, _) = subscriber(server);
                    match leaver {
                        0 => drop(raw),
                        1 => raw.send(&frame(0x88, &1000_u16.to_be_bytes())),
                        // In the middle of a publication, if one comes.
                        _ => {
                            let timeout = Some(Duration::from_millis(20));
                            raw.stream.set_read_timeout(timeout).expect("a timeout");
                            let _ = raw.stream.read(&mut [0; 50]);
                        }
                    }
                }
            });
        }
        // Connections that come instead, and must see nothing but their own echoes.
        scope.spawn(move || {
            while goes_on() {
                let mut echo = Raw::open(server, "/echo");
                for _ in 0..3 {
                    echo.send(&frame(0x82, b"mine"));
                    assert_eq!(echo.frame(), Some((0x82, b"mine".to_vec())));
                }
            }
        });
        let mut steady: Vec<_> = (0..50).map(|_| subscriber(server).0).collect();
        let mut sender = server.connect("/publisher");
        for round in 0..rounds {
            assert_eq!(sender.ask("publish 3 200 0"), "published");
            for subscriber in &mut steady {
                for number in round * 3..round * 3 + 3 {
                    let text = subscriber.frame().map(|(_, text)| number_of(&text));
                    assert_eq!(text, Some(number));
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(server.connect("/echo").ask("still there?"), "still there?");
}

#[test]
fn an_echo_hardly_waits_beside_publications_to_thousands() {
    let (_site, server) = publisher("");
    let count = if is_long() { 8_000 } else { 1_500 };
    let mut subscribers: Vec<_> = (0..count).map(|_| subscriber(&server).0).collect();
    let is_over = AtomicBool::new(false);

    let (rounds, mut waits) = std::thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            let mut sender = server.connect("/publisher");
            let mut rounds = 0;
            let mut text = [0; 100];
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(sender.ask("publish 1 98 0"), "published");
                for subscriber in &mut subscribers {
                    let read = subscriber.stream.read_exact(&mut text);
                    read.expect("a publication");
                }
                rounds += 1;
            }
            rounds
        });
        let mut echo = Raw::open(&server, "/echo");
        let waits: Vec<_> = (0..300)
            .map(|_| {
                let began = Instant::now();
                echo.send(&frame(0x82, b"quick"));
                assert_eq!(echo.frame(), Some((0x82, b"quick".to_vec())));
                std::thread::sleep(Duration::from_millis(1));
                began.elapsed() - Duration::from_millis(1)
            })
            .collect();
        is_over.store(true, Ordering::Relaxed);
        (publishing.join().expect("all publications came"), waits)
    });

    waits.sort();
    let (median, most) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    assert!(rounds > 0);
    assert!(
        median < Duration::from_millis(5) * patience(),
        "median {median:?}, longest {most:?} beside {rounds} publications"
    );
}
