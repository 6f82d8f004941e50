//! The 54 tests: what each asks for, and what holds it.

use crate::cases::*;
use crate::checks::Checks;
use crate::{Lab, Result};

/// One test.
pub(crate) struct Case {
    pub(crate) number: u8,
    pub(crate) name: &'static str,
    pub(crate) criterion: &'static str,
    pub(crate) how: How,
    /// Tests and programs that hold it too, or parts of it.
    pub(crate) held_by: &'static [&'static str],
}

/// What shows that a criterion holds.
#[derive(Clone, Copy)]
pub(crate) enum How {
    /// This program.
    Run(fn(&Lab, &mut Checks) -> Result<()>),
    /// A run of this program of its own, which takes an hour.
    Apart,
    /// Another program, with what it says.
    Elsewhere(&'static str),
    /// Nothing: wshd has no such part.
    NotBuilt(&'static str),
}

impl How {
    /// Why this program does not run it.
    pub(crate) fn why(self) -> &'static str {
        match self {
            How::Run(_) => "",
            How::Apart => "`abuse soak`",
            How::Elsewhere(why) => why,
            How::NotBuilt(why) => why,
        }
    }
}

use How::{Apart, Elsewhere, NotBuilt, Run};

fn case(
    number: u8,
    name: &'static str,
    criterion: &'static str,
    how: How,
    held_by: &'static [&'static str],
) -> Case {
    Case {
        number,
        name,
        criterion,
        how,
        held_by,
    }
}

/// All of them, in order.
#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    vec![
        // Handshake and HTTP.
        case(1, "1,000 clients send a header a byte a second",
            "all closed within 21 s; the prober; resident memory grows by less than 16 MiB",
            Run(slow_heads::bytes_a_second), &["connections_that_say_nothing_or_half_a_request_give_way_to_those_that_ask"]),
        case(2, "1,000 clients connect and send nothing",
            "closed after 10 s ± 1 s; no line in the log above debug",
            Run(slow_heads::silence), &["a_request_that_is_too_slow_gets_408_and_one_that_its_handler_never_answers_503"]),
        case(3, "A valid handshake, a byte a packet", "101 within 2 s, with the right answer to the key",
            Run(heads::byte_by_byte), &[]),
        case(4, "1 MiB header, 10,000 headers, target of 64 KiB",
            "431, 431, 414, then closed; less than 5 ms of a processor each; 1,000 in less than 5 s",
            Run(heads::too_large), &["every_rule_of_the_opening_handshake_has_its_status"]),
        case(5, "300 malformed handshakes", "each its status; never 101; never a second answer",
            Run(malformed::handshakes), &["every_rule_of_the_opening_handshake_has_its_status"]),
        case(6, "A refused upgrade, followed by another request", "one answer, then closed (RFC 9931)",
            Run(heads::refused_and_followed), &["a_refused_upgrade_is_answered_once_and_what_follows_is_no_request"]),
        case(7, "The first frame in the segment of the handshake", "answered after the 101; nothing is lost",
            Run(heads::early_frame), &["what_open_sends_comes_first_and_early_frames_are_answered"]),
        case(8, "40 false origins, 10 false hosts", "403 for every origin, 421 for every host; the own host is accepted",
            Run(origins::origins_and_hosts), &["tests/origins.rs", "tests/hosts.rs"]),
        case(9, "Paths out of the document root: `..`, `%2e%2e`, `%252e`, `\\`, NUL, links, a link that is switched, a FIFO",
            "403 or 404 or 400; no byte from outside; the FIFO holds nothing up",
            Run(paths::out_of_the_root), &["files_are_served_and_nothing_outside_the_document_root_is"]),
        case(10, "CR, LF, ESC, bidi and invalid UTF-8 in path, user agent and subprotocol",
            "one line an event; each byte escaped",
            Run(lines::injected), &["what_a_peer_writes_into_a_log_stays_on_its_line", "no_value_in_the_log_looks_like_another_field_or_another_line"]),
        case(11, "10,000 guesses of a password", "limited: 429; users of other addresses are let in; the time does not tell whether a user exists (means differ by less than σ)",
            Run(guesses::passwords), &["wrong_passwords_of_one_address_are_limited_and_lock_no_user_out", "tests/guessing.rs"]),
        // Frames.
        case(12, "The Autobahn suite", "every case strict",
            Elsewhere("`.ci/run`: 363 of 363 cases over plain sockets and 363 of 363 over TLS are good, 3 of each where the suite has no strict answer; 175 s. `--all` plays all 517"), &["tests/autobahn/run.py --all"]),
        case(13, "A header claims 1 GiB, 2^63, 2^64-1 bytes; 10,000 times",
            "1009 or 1002 at once; memory does not grow",
            Run(lengths::claimed), &["every_violation_has_its_close_code_and_gets_one_close_frame"]),
        case(14, "1,000,000 empty continuation frames in a message",
            "1008 or 1009 at the limit; less than a second of a processor; memory does not grow",
            Run(lengths::empty_fragments), &["every_violation_has_its_close_code_and_gets_one_close_frame"]),
        case(15, "65,536 fragments of a byte, with Pings between",
            "within 1 s the message, or 1008 at the limit of fragments; Pongs in order",
            Run(lengths::tiny_fragments), &[]),
        case(16, "Pings as fast as a client can, for 10 s", "Pongs bounded; the prober; memory does not grow",
            Run(pings::flood), &["an_echo_comes_back_beside_peers_that_ping_without_a_pause", "a_ping_takes_nothing_from_the_heap"]),
        case(17, "Each violation of the framing", "1002, or 1007 for a reason that is no UTF-8; one Close frame",
            Run(violations::framing), &["every_violation_has_its_close_code_and_gets_one_close_frame"]),
        case(18, "Invalid UTF-8, split at every byte over fragments", "1007 at the first wrong byte, before the message ends",
            Run(violations::invalid_text), &["bad_text_fails_at_its_first_bad_byte_wherever_the_frame_was_split"]),
        case(19, "1,000 bombs at once, 64 KiB that inflate to 64 MiB", "1009; memory grows by less than 1,000 messages",
            Run(bombs::at_once), &["bombs_at_once_are_each_too_big_and_hold_no_more_than_a_message_may"]),
        case(20, "Offers of permessage-deflate, right, wrong and random", "declined, accepted or 400; echoes are equal; no panic",
            Run(bombs::offers), &["tests/compression.rs"]),
        case(21, "Random bytes for each parser", "no crash, no hang, no difference",
            Elsewhere("12 targets for a minute each, under AddressSanitizer: no finding in 10,984,825 executions: asks 2,844,720, close 5,083,059, closing 987,172, deflate 12,756, differential 144,949, extensions 721,111, frames 119,025, handshake 640,146, messages 16,758, positions 260,656, proxied 152,429, tls 2,044"), &["tests/fuzz/README.md"]),
        // Network.
        case(22, "1,000 peers vanish", "found within 35 s and a tenth; the close callback once each",
            Run(vanished::half_open), &["pings_keep_a_session_and_find_a_silent_peer"]),
        case(23, "A reset at every byte of a frame of 200 bytes, both ways", "no line above debug but the access lines; as many sessions close as open",
            Run(vanished::resets), &[]),
        case(24, "100 readers of 1 KiB/s, and a writer that fills them", "1 MiB each in the server; they are let go; the prober",
            Run(readers::slow), &["a_peer_that_does_not_read_holds_the_outbound_limit_and_is_let_go", "tests/liveness.rs"]),
        case(25, "A slow reader among 10,000 subscribers", "a publication takes as long as without it (± 10 %)",
            Run(readers::among_many), &["tests/publishing.rs"]),
        case(26, "10,000 connect and close, 20 times", "memory grows by less than 8 MiB; descriptors back",
            Run(crowds::churn), &["a_message_is_answered_before_most_of_the_sessions_that_closed_before_it_came"]),
        case(27, "10,000 idle connections", "4 KiB of memory each; a hundredth of a processor",
            Run(crowds::idle), &["cargo run --profile dist -p bench -- gate", "cargo run --profile dist -p bench -- tls"]),
        case(28, "256 descriptors, 400 clients, 30 s",
            "less than a tenth of a processor; sessions echo; new ones within 1 s of free descriptors; at most a line a second",
            Run(descriptors::run_out), &["few_descriptors_leave_handlers_sessions_and_new_connections_as_they_are", "silent_connections_at_256_descriptors_cost_no_handler"]),
        case(29, "TLS: a ClientHello in pieces, an end in the handshake, silence, no name, a wrong name, a replaced certificate",
            "no panic; closed within 10 s; a new certificate for new connections only; a bad one keeps the old",
            Run(secure::handshakes), &["tests/tls.rs", "a_certificate_that_is_replaced_is_what_new_connections_get_and_no_session_ends", "a_pair_that_does_not_fit_keeps_the_old_one_and_says_so_once"]),
        case(30, "The clock is set a year forward and back", "no session ends; the log's times follow",
            Run(clock::set), &[]),
        case(31, "PROXY v2 with lengths that lie, and from a peer that is not trusted", "closed; no address is believed",
            Run(proxied::lies), &["a_connection_without_a_right_proxy_header_is_closed_without_an_answer", "only_trusted_proxies_connect_where_proxies_do", "what_any_other_peer_says_of_its_address_is_only_a_header", "tests/fuzz/fuzz_targets/proxied.rs"]),
        // Plugins.
        case(32, "A panic in each callback", "1011 for that session; counted; the others go on; 503 after 5 panics, and half open after 5 s",
            Run(panics::in_each_callback), &["a_panic_in_any_callback_costs_its_own_session_only", "a_handler_that_panics_too_often_is_out_of_service_and_a_new_file_brings_it_back", "tests/quarantine.rs"]),
        case(33, "A callback that never returns", "named within 2 s; others are served; out of service when it holds too many threads",
            Run(stuck::never_returns), &["a_callback_that_never_returns_holds_no_other_session_up", "callbacks_that_never_return_on_every_worker_at_once_hold_no_other_handler_up", "tests/quarantine.rs"]),
        case(34, "A plugin that takes all memory, overflows its stack, crashes, aborts, exits",
            "documented as fatal, named in the log; served again within 1 s of a start; refused if it does so while it loads. A process for each handler is not built",
            Run(endings::of_plugins), &["exit_in_a_callback_names_it_closes_every_session_and_is_a_failure", "a_fault_in_a_callback_names_it_and_ends_the_server_by_its_signal", "a_plugin_that_would_end_or_hang_the_server_is_refused_and_every_session_goes_on"]),
        case(35, "Stale pointers and ids, calls from other threads, calls after the close", "refused; never undefined",
            Run(stale::pointers_and_ids), &["a_pointer_that_means_nothing_is_misuse_and_nothing_behind_it_is_read", "safe_code_that_swaps_two_connections_follows_none_whose_session_is_gone", "a_send_from_another_thread_after_the_end_is_answered_gone"]),
        case(36, "Files that are no plugins, and damaged ones", "refused in one line, within 1 s, and within 2 s where the rest of a file is waited for; the old generation serves",
            Run(damaged::instead_of_a_plugin), &["tests/refused_plugins.rs", "tests/odd_files.rs", "no_damage_to_a_file_ends_the_server_or_holds_a_session_up"]),
        case(37, "A file that is written slowly", "not loaded before it is whole; then within 0.5 s",
            Run(files::slowly_written), &["tests/loading.rs", "server/src/reload/belief/tests.rs"]),
        case(38, "1,000 replacements under 1,000 sessions, by rename and in place", "no message lost or doubled; no session closed; the last build serves",
            Run(replacements::under_sessions), &["event_sessions_lose_nothing_while_their_handler_is_replaced", "async_sessions_lose_nothing_while_their_handler_is_replaced"]),
        case(39, "A file that is deleted under load, and restored", "404 within 0.5 s; sessions go on; it serves again within 0.5 s",
            Run(files::deleted), &["tests/loading.rs"]),
        case(40, "Two files for a path, case, blanks, unicode, `..`", "always the same; a warning",
            Run(names::of_files), &["tests/names.rs"]),
        case(41, "States that are refused, too large or too slow", "the old code goes on; no half state; no other session waits",
            Run(states::that_do_not_move), &["tests/migration.rs", "tests/model.rs"]),
        case(42, "500 handlers", "started within 3 s; a bad one keeps none from loading",
            Run(handlers::many), &["a_thousand_files_are_read_once_each"]),
        // Configuration and operation.
        case(43, "50 broken configurations", "the old one stays; the place in the file; `wshd check` says the same, and exits with 78",
            Run(configs::broken), &["a_broken_configuration_is_shown_with_its_place_and_exits_with_78", "routes_and_limits_apply_at_once_and_a_broken_edit_changes_nothing"]),
        case(44, "1,000 SIGHUPs in 10 s under load", "coalesced; no session ends; memory does not grow",
            Run(signals::hangups), &["a_thousand_hangups_are_a_handful_of_looks_and_the_last_one_counts"]),
        case(45, "SIGTERM with 10,000 sessions", "1001 or 1012 for all, 99 of 100 close cleanly; exit 0 within 30 s; a second one ends it within 1 s; after SIGKILL the port is bound again within 1 s",
            Run(signals::stop), &["tests/stopping.rs", "a_second_signal_ends_it_at_once"]),
        case(46, "50 upgrades of the binary under 500 connections a second",
            "no connection refused; no session ends before it is told to come back (1012); one process is left",
            Run(upgrades::under_load), &["upgrades_under_load_refuse_no_connection_and_lose_no_session", "tests/upgrades/under_load.rs"]),
        case(47, "The log's disk is full, its file moved, its pipe not read", "sessions go on; what is lost is counted; it recovers",
            Run(logs::full_disk), &["tests/log_file.rs", "tests/logging.rs"]),
        case(48, "A busy port, no permission, the socket of a dead and of a live server", "a sentence and exit code 1; a live socket stays; a dead one is taken over",
            Run(starts::without_a_place), &["a_busy_port_ends_it_with_1_and_the_address", "tests/listening.rs"]),
        case(49, "No inotify, no events", "it looks itself, within 5 s; one warning",
            Run(watching::without_events), &["the_limits_of_the_system_are_named_and_changes_are_looked_for", "a_change_that_no_event_tells_of_is_found_and_looked_for_from_then_on"]),
        case(50, "The admin socket: other users, garbage, 1,000 slow clients", "refused; operators and sessions do not notice",
            Run(admin::slow_and_garbage), &["another_users_process_is_not_answered", "slow_clients_of_the_socket_keep_neither_operators_nor_peers_waiting", "the_socket_speaks_http_and_answers_garbage_with_a_sentence"]),
        case(51, "Behind nginx and haproxy", "upgrade; the real address; PROXY v2; idle for longer than the proxy waits; sessions go on over a reload of the proxy",
            Run(proxies::in_front), &["tests/proxies.rs", "tests/proxied.rs", "tests/who_may_connect.rs"]),
        case(52, "Chromium and Firefox", "pages, close codes, long messages, reconnects, content policy",
            Elsewhere("88 of 88: 44 cases in each browser; 88 s"), &["tests/browser/main.rs"]),
        case(53, "Soak: mixed load, a replacement every 10 s, churn", "memory grows by less than 1 MiB an hour after the warm-up, apart from retired generations; no error of sequence",
            Apart, &["a_session_of_each_style_survives_a_hundred_thousand_messages_in_order"]),
        case(54, "The bridge between servers: broker gone, partition, doubles, order", "local topics go on; a gap is told",
            NotBuilt("no bridge to a broker. The engine's suite tries the same faults between five servers and their broker in virtual time: 1,000 of 1,000 seeds hold, 151 of 151 tests pass"), &["server/src/engine/test_bus/faults.rs", "sessions_hear_everything_in_order_and_once_or_are_told_that_they_do_not"]),
    ]
}
