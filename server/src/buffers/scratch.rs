//! The buffers that the connections of one thread share, so that an idle connection holds none.

use std::cell::Cell;

/// One thread's buffers, taken for the length of one readiness event.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// What one `recv` fills.
    pub(crate) input: Vec<u8>,
    /// What one `send` empties.
    pub(crate) output: Vec<u8>,
}

impl Scratch {
    /// The thread's buffers; whoever took them before has put them back, or fresh ones are made.
    pub(crate) fn take() -> Box<Scratch> {
        SCRATCH.take().unwrap_or_else(|| {
            Box::new(Scratch {
                input: vec![0; INPUT_BYTES],
                output: Vec::with_capacity(OUTPUT_BYTES),
            })
        })
    }

    /// Frees the thread's buffers; the next event makes fresh ones.
    pub(crate) fn forget() {
        drop(SCRATCH.take());
    }

    /// Gives them back to the thread; a buffer that one event made huge is not kept.
    pub(crate) fn put_back(mut self: Box<Self>) {
        self.output.clear();
        if self.output.capacity() > OUTPUT_BYTES_KEPT {
            self.output.shrink_to(OUTPUT_BYTES_KEPT);
        } else if self.output.capacity() == 0 {
            // A session kept it for what the kernel did not take.
            self.output.reserve(OUTPUT_BYTES);
        }
        SCRATCH.set(Some(self));
    }
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

const INPUT_BYTES: usize = 64 * 1024;
const OUTPUT_BYTES: usize = 64 * 1024;
const OUTPUT_BYTES_KEPT: usize = 512 * 1024;
