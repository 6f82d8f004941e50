//! The two buffers for TLS records that the connections of one thread share for the length of one receive or send.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

/// What one receive decrypts, and what one send has encrypted.
#[derive(Debug)]
pub(crate) struct Records {
    /// What one `recv` fills, and is decrypted in place: 64 KiB.
    pub(crate) input: Vec<u8>,
    /// Room for the records of 64 KiB of plaintext.
    pub(crate) output: Vec<u8>,
}

/// The thread's [`Records`]. Its drop gives them back to the thread.
#[derive(Debug)]
pub(crate) struct RecordBuffers(Option<Box<Records>>);

impl RecordBuffers {
    /// The thread's buffers. Fresh ones are made if they are taken, or were freed.
    pub(crate) fn take() -> RecordBuffers {
        let buffers = OF_THREAD.take().unwrap_or_else(|| {
            Box::new(Records {
                input: vec![0; INPUT_BYTES],
                output: vec![0; OUTPUT_BYTES],
            })
        });
        RecordBuffers(Some(buffers))
    }

    /// Frees the thread's buffers; the next connection with TLS makes fresh ones.
    pub(crate) fn forget() {
        drop(OF_THREAD.take());
    }
}

impl Deref for RecordBuffers {
    type Target = Records;

    fn deref(&self) -> &Records {
        self.0.as_ref().expect("only the drop takes it out")
    }
}

impl DerefMut for RecordBuffers {
    fn deref_mut(&mut self) -> &mut Records {
        self.0.as_mut().expect("only the drop takes it out")
    }
}

impl Drop for RecordBuffers {
    fn drop(&mut self) {
        // A thread that ends has no place for them any more.
        let _ = OF_THREAD.try_with(|of_thread| of_thread.set(self.0.take()));
    }
}

thread_local! {
    /// The buffers that nothing uses. Per thread, so that taking them takes no lock.
    static OF_THREAD: Cell<Option<Box<Records>>> = const { Cell::new(None) };
}

const INPUT_BYTES: usize = 64 * 1024;
/// Five records, each with its header, nonce and tag, and some to spare for an alert or a change of keys.
const OUTPUT_BYTES: usize = 66 * 1024;
