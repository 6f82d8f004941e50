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

/// The thread's [`Buffers`]. A drop frees them, which [`give_back`](Self::give_back) avoids.
#[derive(Debug)]
pub(crate) struct EventBuffers(Box<Buffers>);

impl EventBuffers {
    /// The thread's buffers. Fresh ones are made if they are taken, or were freed.
    #[inline]
    pub(crate) fn take() -> EventBuffers {
        EventBuffers(OF_THREAD.take().unwrap_or_else(fresh))
    }

    /// Gives them back to the thread. It is no drop, so that an event does not ask whether they were given back before.
    #[inline]
    pub(crate) fn give_back(mut self) {
        let output = &mut self.0.output;
        output.clear();
        if output.capacity() == 0 || output.capacity() > OUTPUT_BYTES_KEPT {
            resize(output);
        }
        // A thread that ends has no place for them any more, and an event within another one had others.
        let mut left = Some(self.0);
        let _ = OF_THREAD.try_with(|of_thread| left = of_thread.replace(left.take()));
        if left.is_some() {
            free(left);
        }
    }

    /// Frees the thread's buffers; the next event makes fresh ones.
    pub(crate) fn forget() {
        drop(OF_THREAD.take());
    }
}

impl Deref for EventBuffers {
    type Target = Buffers;

    fn deref(&self) -> &Buffers {
        &self.0
    }
}

impl DerefMut for EventBuffers {
    fn deref_mut(&mut self) -> &mut Buffers {
        &mut self.0
    }
}

#[cold]
fn fresh() -> Box<Buffers> {
    Box::new(Buffers {
        input: vec![0; INPUT_BYTES],
        output: Vec::with_capacity(OUTPUT_BYTES).into(),
    })
}

#[cold]
fn resize(output: &mut Buffer) {
    if output.capacity() == 0 {
        // A session kept it for what the kernel did not take.
        output.reserve(OUTPUT_BYTES);
    } else {
        output.shrink_to(OUTPUT_BYTES_KEPT);
    }
}

#[cold]
fn free(buffers: Option<Box<Buffers>>) {
    drop(buffers);
}

thread_local! {
    /// The buffers that nothing uses. Per thread, so that taking them takes no lock.
    static OF_THREAD: Cell<Option<Box<Buffers>>> = const { Cell::new(None) };
}

const INPUT_BYTES: usize = 64 * 1024;
const OUTPUT_BYTES: usize = 64 * 1024;
const OUTPUT_BYTES_KEPT: usize = 512 * 1024;
