//! The pages of handlers/www, and the WebSockets of real browsers, against a real `wshd`: each case in a headless Chromium
//! and in a headless Firefox.
//!
//! `cargo test -p browser`, with `apt-get install chromium chromium-driver firefox-esr` before it; `cargo test -p browser
//! firefox` runs the cases of one browser. To see what the browsers saw: `BROWSER_SCREENSHOTS=target/screenshots cargo test
//! -p browser`; with `BROWSER_DARK=1` they prefer dark pages.

mod artifacts;
mod bidi;
mod browser;
mod chat;
mod closing;
mod dev;
mod handshakes;
mod leaving;
mod local_network;
mod messages;
mod page;
mod pages;
mod program;
mod replacing;
mod server;
mod states;
mod tutorial;
mod workers;

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};

use browser::Browser;
use program::Kind;

/// A claim about every browser. A panic says that it does not hold.
type Case = fn(&Browser);

/// The browsers that no case uses at the moment.
static IDLE: Mutex<Vec<Browser>> = Mutex::new(Vec::new());

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A browser takes a processor and hundreds of megabytes. Each case has one, so there are as many as threads.
    arguments.test_threads.get_or_insert(2);
    // All cases of a browser stand together, because a thread that needs the other one ends the one it had.
    let trials = [Kind::Chromium, Kind::Firefox].map(trials_in);
    let conclusion = libtest_mimic::run(&arguments, trials.into_iter().flatten().collect());
    let idle = std::mem::take(&mut *idle());
    drop(idle);
    conclusion.exit_code()
}

fn trials_in(kind: Kind) -> impl Iterator<Item = Trial> {
    CASES.iter().map(move |(name, case)| {
        let name = format!("{}::{name}", kind.name());
        Trial::test(name, move || run(kind, *case))
    })
}

/// Runs a case in a browser of this kind. One that is left after another case is used again. A panic drops it.
fn run(kind: Kind, case: Case) -> Result<(), libtest_mimic::Failed> {
    let missing = kind.missing_packages().join(" ");
    if !missing.is_empty() {
        return Err(format!("install what drives a browser: `apt-get install {missing}`").into());
    }
    let mut browser = idle_browser(kind).unwrap_or_else(|| Browser::start(kind));
    browser.begin();
    case(&browser);
    browser.end();
    idle().push(browser);
    Ok(())
}

/// Takes a browser of this kind. If there is none, those of the other kind end, so that there are never more than threads.
fn idle_browser(kind: Kind) -> Option<Browser> {
    let mut idle = idle();
    if let Some(index) = idle.iter().position(|browser| browser.kind == kind) {
        return Some(idle.remove(index));
    }
    let other = idle.pop();
    drop(idle);
    drop(other);
    None
}

fn idle() -> std::sync::MutexGuard<'static, Vec<Browser>> {
    IDLE.lock().expect("no case runs while it is locked")
}

/// Waits until `find` finds something, and fails with `what` if it does not in twenty seconds.
fn eventually<T>(what: &str, find: impl FnMut() -> Option<T>) -> T {
    within(Duration::from_secs(20), what, find)
}

/// Waits until `find` finds something, and fails with `what` if it does not within `limit`.
fn within<T>(limit: Duration, what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(began.elapsed() < limit, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Functions of modules, with their names.
macro_rules! cases {
    ($($module:ident: $($case:ident)+;)+) => {
        &[$($((concat!(stringify!($module), "::", stringify!($case)), $module::$case),)+)+]
    };
}

/// Every case. Those that take long come first, so that no thread is left with one of them at the end.
const CASES: &[(&str, Case)] = cases! {
    chat:
        a_room_outlives_saves_of_its_handler_and_a_panic_and_shows_nothing_twice
        two_chat_pages_see_each_other;
    dev:
        a_page_shows_what_does_not_build_until_it_does_and_stays_connected
        a_saved_page_is_loaded_again_and_a_saved_handler_loads_no_page
        over_tls_a_page_shows_what_does_not_build_too;
    messages:
        one_long_message_comes_back_whole
        many_messages_of_64_mib_together_come_back_in_order
        a_blob_of_any_length_goes_to_a_handler_that_takes_parts
        texts_blobs_buffers_and_views_come_back_as_the_binary_type_says
        messages_are_compressed_where_the_handler_lets_them_be
        a_longer_message_than_the_limit_closes_with_1009;
    states:
        ready_state_goes_through_its_four_values
        buffered_amount_rises_with_each_send_and_falls_to_zero
        the_four_events_come_in_their_order_and_say_where_from
        a_page_has_a_hundred_sockets_at_once
        a_silent_page_stays_connected_because_its_browser_answers_pings;
    closing:
        a_page_closes_with_every_code_and_reason_it_may_send
        a_close_that_a_page_may_not_send_throws_and_leaves_the_session_open
        a_page_hears_the_code_and_the_reason_of_the_handler
        a_page_hears_that_the_server_stops;
    handshakes:
        a_subprotocol_is_chosen_of_those_that_a_page_offers
        a_refusal_is_an_error_and_a_close_with_1006_whatever_its_status
        cookies_of_a_handshake_are_sent_with_the_next_ones
        wss_and_the_pages_over_https_work_as_without_tls
        a_user_who_may_see_the_page_may_use_its_sockets;
    leaving:
        a_window_that_closes_says_1001_and_the_other_stays_connected
        a_reader_who_leaves_the_chat_is_no_member_and_is_one_again_after_coming_back;
    local_network:
        a_page_from_elsewhere_connects_once_its_reader_agrees_and_its_origin_may
        the_console_says_that_the_browser_keeps_it_from_this_machine;
    replacing:
        newer_code_answers_an_open_page_over_the_socket_that_it_has;
    workers:
        a_worker_sends_receives_and_ends_with_its_socket
        two_pages_share_the_socket_of_a_shared_worker;
    pages:
        the_index_lists_the_handlers_and_talks_to_them
        the_index_and_the_console_reach_a_handler_whatever_its_name
        the_index_says_why_a_handler_was_refused
        the_console_shows_what_the_browser_sees
        the_benchmark_passes_messages_both_ways_in_the_window_and_in_a_worker
        the_benchmark_passes_its_longest_messages
        the_pages_of_the_program_talk_to_its_handlers
        no_page_of_the_program_breaks_its_content_policy
        a_page_from_a_file_is_refused_until_its_origin_or_its_handler_allows_it
        the_pages_work_under_every_name_of_this_machine;
    tutorial:
        run_websocket_shows_its_alerts_in_order
        the_saved_page_works_from_a_file_and_goodbye_ends_its_connection;
};
