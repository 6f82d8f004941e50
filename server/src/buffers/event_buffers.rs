//! The two buffers that the connections of one thread share for the length of one readiness event.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use super::pool::Buffer;

/// What one event reads into and writes to.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// What one `recv` fills: 64 KiB.
    pub(crate) input: Vec<u8>,
    /// What one `send` empties.
    pub(crate) output: Buffer,
}

/// The thread's [`Buffers`]. Its drop gives them back to the thread.
#[derive(Debug)]
pub(crate) struct EventBuffers(Option<Box<Buffers>>);

impl EventBuffers {
    /// The thread's buffers. Fresh ones are made if they are taken, or were freed.
    pub(crate) fn take() -> EventBuffers {
        let buffers = OF_THREAD.take().unwrap_or_else(|| {
            Box::new(Buffers {
                input: vec![0; INPUT_BYTES],
                output: Vec::with_capacity(OUTPUT_BYTES).into(),
            })
        });
        EventBuffers(Some(buffers))
    }

    /// Frees the thread's buffers; the next event makes fresh ones.
    pub(crate) fn forget() {
        drop(OF_THREAD.take());
    }
}

impl Deref for EventBuffers {
    type Target = Buffers;

    fn deref(&self) -> &Buffers {
        self.0.as_ref().expect("only the drop takes it out")
    }
}

impl DerefMut for EventBuffers {
    fn deref_mut(&mut self) -> &mut Buffers {
        self.0.as_mut().expect("only the drop takes it out")
    }
}

impl Drop for EventBuffers {
    fn drop(&mut self) {
        let Some(mut buffers) = self.0.take() else {
            return;
        };
        let output = &mut buffers.output;
        output.clear();
        if output.capacity() > OUTPUT_BYTES_KEPT {
            output.shrink_to(OUTPUT_BYTES_KEPT);
        } else if output.capacity() == 0 {
            // A session kept it for what the kernel did not take.
            output.reserve(OUTPUT_BYTES);
        }
        // A thread that ends has no place for them any more.
        let _ = OF_THREAD.try_with(|of_thread| of_thread.set(Some(buffers)));
    }
}

thread_local! {
    /// The buffers that nothing uses. Per thread, so that taking them takes no lock.
    static OF_THREAD: Cell<Option<Box<Buffers>>> = const { Cell::new(None) };
}

const INPUT_BYTES: usize = 64 * 1024;
const OUTPUT_BYTES: usize = 64 * 1024;
const OUTPUT_BYTES_KEPT: usize = 512 * 1024;
