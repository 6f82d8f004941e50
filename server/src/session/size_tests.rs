use std::sync::Arc;

use super::Session;
use crate::border::host_conn::HostConn;
use crate::sessions::mailbox::Mailbox;
use crate::ws::deflate::{deflation::Deflation, inflation::Inflation};

/// The bytes that the C library takes from the system for an allocation of so many.
const fn taken(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16)
}

#[test]
fn an_idle_session_takes_no_more_than_it_has_to() {
    /// The two counts that an `Arc` keeps in front of its value.
    const COUNTS: usize = 2 * size_of::<usize>();
    let _: fn(Mailbox) -> Arc<Mailbox> = Arc::new;

    // With each step of 16 bytes ten thousand sessions take 160 KB more.
    assert_eq!(taken(size_of::<Session>()), 352);
    assert_eq!(taken(size_of::<HostConn>()), 224);
    // 32 of them count messages and bytes, where any thread can read them.
    assert_eq!(taken(COUNTS + size_of::<Mailbox>()), 176);
    // With permessage-deflate.
    assert_eq!(taken(size_of::<Inflation>()), 64);
    assert_eq!(taken(size_of::<Deflation>()), 64);
}
