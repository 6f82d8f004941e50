//! What every test uses: a site of its own, a real `wshd` on a free port, real clients.
//!
//! The harness hides processes, sockets and directories, never the thing under test.

#[path = "../../server/src/testing/certificates.rs"]
pub(crate) mod certificates;
pub(crate) mod client;
#[path = "../../server/src/testing/client_frame.rs"]
pub(crate) mod client_frame;
pub(crate) mod compile;
pub(crate) mod deflating;
pub(crate) mod hostile;
pub(crate) mod limits;
pub(crate) mod patch;
pub(crate) mod repository;
pub(crate) mod script;
pub(crate) mod server;
pub(crate) mod site;
pub(crate) mod tls;

use std::time::{Duration, Instant};

/// Waits until `claim` holds, and fails with `what` if it does not in twenty seconds.
#[track_caller]
pub(crate) fn eventually(what: &str, claim: impl FnMut() -> bool) {
    within(Duration::from_secs(20), what, claim);
}

/// Waits until `claim` holds, and fails with `what` if it does not within `limit`.
#[track_caller]
pub(crate) fn within(limit: Duration, what: &str, mut claim: impl FnMut() -> bool) {
    let limit = limit * patience();
    let began = Instant::now();
    while !claim() {
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs a test for each case at the same time, so that the waits of the cases do not add up.
pub(crate) fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Send + Sync) {
    std::thread::scope(|scope| {
        for case in cases {
            let test = &test;
            scope.spawn(move || test(case));
        }
    });
}

/// Whether `WSHD_LONG=1` asks for the long forms of tests.
pub(crate) fn is_long() -> bool {
    std::env::var_os("WSHD_LONG").is_some_and(|value| value != "0")
}

/// The factor for every deadline of a test: `WSHD_PATIENCE`, 1 unless it is set. A server under a sanitizer is ten
/// times as slow.
pub(crate) fn patience() -> u32 {
    let patience = std::env::var("WSHD_PATIENCE").ok();
    let patience = patience.map(|value| value.parse().expect("WSHD_PATIENCE is a number"));
    patience.unwrap_or(1)
}
