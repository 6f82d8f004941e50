//! A send that is awaited or blocks waits until its message fits. It never closes its session.

use std::time::{Duration, Instant};

use tungstenite::Message;

use crate::harness::client::{Client, Raw};
use crate::harness::client_frame::frame;
use crate::harness::eventually;
use crate::harness::server::Server;
use crate::harness::site::{Site, library};

const STYLES: [&str; 2] = ["async_flood_wsh", "blocking_flood_wsh"];

fn path(plugin: &str) -> String {
    format!("/{}", plugin.trim_end_matches("_wsh"))
}

/// Starts a server of both floods, with these limits.
fn floods(limits: &str) -> (Site, Server) {
    let site = Site::with(&STYLES);
    site.write("config.toml", &format!("[limits]\n{limits}\n"));
    let server = Server::start(&site);
    (site, server)
}

/// Reads what a flood of `count` messages of `bytes` bytes sends, with a pause after each.
#[track_caller]
fn read_flood(client: &mut Client, count: u32, bytes: usize, pause: Duration) {
    for number in 0..count {
        let Message::Binary(message) = client.receive() else {
            panic!("message {number} of {count} is no message of the flood");
        };
        assert_eq!(message.len(), bytes);
        assert_eq!(message[..4], number.to_be_bytes());
        std::thread::sleep(pause);
    }
    assert_eq!(client.text(), "sent");
}

#[test]
fn what_is_sent_in_a_row_comes_whole_to_a_fast_reader_and_to_a_slow_one() {
    // The limit, the number of messages, their bytes, and the reader's pause after each.
    for (limit, count, bytes, pause_ms) in [
        (50_000, 1_000, 1_024, 0),
        (50_000, 150, 1_024, 1),
        (50_000, 20, 50_001, 0),
        (50_000, 40, 49_000, 1),
        (1_048_576, 12, 1_024_000, 0),
        (1_048_576, 8, 1_048_577, 5),
    ] {
        let (_site, server) = floods(&format!("outbound_bytes_max = {limit}"));
        for plugin in STYLES {
            let mut client = server.connect(&path(plugin));
            client.send(format!("{count} {bytes}"));
            read_flood(&mut client, count, bytes, Duration::from_millis(pause_ms));
            assert_eq!(client.close(4001), 4001);
        }
        assert_eq!(server.count_lines(&["outbound_bytes_max"]), 0);
    }
}

#[test]
fn a_reader_that_reads_nothing_ends_by_the_deadline_of_what_is_sent() {
    let (_site, server) = floods("outbound_timeout_ms = 300");
    let began = Instant::now();
    let silent: Vec<Raw> = STYLES
        .iter()
        .map(|plugin| {
            let mut raw = Raw::open(&server, &path(plugin));
            raw.send(&frame(0x81, b"1000000 1024"));
            raw
        })
        .collect();

    for plugin in STYLES {
        let handler = plugin.trim_end_matches("_wsh");
        let line = server.line(&["session closed", &format!("handler={handler}")]);
        assert!(line.contains("outbound_timeout_ms"), "{line}");
        // The send fails, and the thread of the function ends.
        server.line(&["flood ended after", "the session is over", handler]);
    }
    assert!(began.elapsed() >= Duration::from_millis(300));
    drop(silent);
}

#[test]
fn a_message_that_never_fits_is_refused_at_once_and_nothing_is_lost() {
    let (_site, server) = floods("");
    let too_long = 1024 * 1024 * 1024 + 1;
    for plugin in STYLES {
        let mut client = server.connect(&path(plugin));
        client.send("3 1000");
        client.send(format!("1 {too_long}"));
        client.send("3 1000");

        read_flood(&mut client, 3, 1000, Duration::ZERO);
        let refusal = "`message` has 1073741825 bytes, wanted at most 1 GiB";
        assert_eq!(client.text(), refusal);
        assert_eq!(client.text(), "sent");
        read_flood(&mut client, 3, 1000, Duration::ZERO);
        assert_eq!(client.close(1000), 1000);
    }
}

#[test]
fn a_reload_in_the_middle_of_a_waiting_send_loses_nothing() {
    let (site, server) = floods("");
    let (count, bytes) = (3_000_u32, 4_096);
    for plugin in STYLES {
        let handler = plugin.trim_end_matches("_wsh");
        let mut client = server.connect(&path(plugin));
        client.send(format!("{count} {bytes}"));
        assert_eq!(client.receive().len(), bytes);
        // The kernel's buffers are full, and the function waits.
        let mut before = 0;
        eventually("the server sends no more", || {
            let ticks = server.processor_ticks();
            std::thread::sleep(Duration::from_millis(30));
            ticks == std::mem::replace(&mut before, ticks)
        });

        let mut newer = std::fs::read(library(plugin)).expect("the plugin's library");
        newer.push(0);
        site.add_bytes(&newer, &format!("{plugin}.so"));
        server.line(&["handler loaded", handler, "generation=2"]);

        for number in 1..count {
            assert_eq!(client.receive().into_data()[..4], number.to_be_bytes());
        }
        assert_eq!(client.text(), "sent");
        client.send("2 1000");
        read_flood(&mut client, 2, 1000, Duration::ZERO);
        let retired = [
            "generation retired",
            &format!("handler={handler}"),
            "generation=1",
        ];
        if plugin == "async_flood_wsh" {
            // The function waits for its connection again, and moves.
            server.line(&retired);
        }
        assert_eq!(client.close(1000), 1000);
        server.line(&retired);
    }
}
