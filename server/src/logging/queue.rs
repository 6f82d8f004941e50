//! The log lines that wait for the writer thread. They are bounded in bytes; lines without room are counted.

/// Lines in their order, and the number of lines without room since the last batch.
#[derive(Debug)]
pub(super) struct LineQueue {
    lines: Vec<u8>,
    /// Those texts among `lines` that go to stderr also where the log is a file.
    texts: Vec<u8>,
    /// Whether a line is to leave at once. Other lines may wait, and leave together.
    is_urgent: bool,
    dropped: u64,
    /// Bytes that were queued since the process began, and bytes that the writer has written or lost.
    accepted: u64,
    finished: u64,
    /// Threads that wait until a batch is finished.
    pub(super) waiting: usize,
}

/// Facts about a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Lines that came after the last line of the batch and had no room.
    pub(super) dropped: u64,
    pub(super) bytes: usize,
}

impl LineQueue {
    pub(super) const fn new() -> LineQueue {
        LineQueue {
            lines: Vec::new(),
            texts: Vec::new(),
            is_urgent: false,
            dropped: 0,
            accepted: 0,
            finished: 0,
            waiting: 0,
        }
    }

    /// Queues a line, or counts it where the queue is full. Answers whether the writer is to be woken.
    pub(super) fn push(&mut self, line: &[u8], may_wait: bool) -> bool {
        if self.lines.len() + line.len() > BYTES_MAX {
            self.dropped += 1;
            super::count_lost(1);
            return false;
        }
        let is_first = self.lines.is_empty();
        self.lines.extend_from_slice(line);
        self.accepted += line.len() as u64;
        let was_urgent = self.is_urgent;
        self.is_urgent |= !may_wait || self.lines.len() >= BATCH_BYTES;
        is_first || self.is_urgent != was_urgent
    }

    /// Queues a text for people. Answers whether the writer is to be woken.
    pub(super) fn push_text(&mut self, text: &[u8]) -> bool {
        if self.texts.len() + text.len() <= BYTES_MAX {
            self.texts.extend_from_slice(text);
        }
        self.push(text, false)
    }

    /// Lets all lines leave at once. Answers the value of [`LineQueue::finished`] when they have.
    pub(super) fn hurry(&mut self) -> u64 {
        self.is_urgent = !self.lines.is_empty();
        self.accepted
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether a text for people waits.
    pub(super) fn has_texts(&self) -> bool {
        !self.texts.is_empty()
    }

    /// Takes the texts for people. They stay among the lines.
    pub(super) fn take_texts(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.texts)
    }

    /// How many lines had no room since the last batch.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// Moves all lines to `batch`, which is empty.
    pub(super) fn take(&mut self, batch: &mut Vec<u8>) -> Taken {
        std::mem::swap(&mut self.lines, batch);
        self.is_urgent = false;
        Taken {
            dropped: std::mem::take(&mut self.dropped),
            bytes: batch.len(),
        }
    }

    /// Notes that a batch of so many bytes is written or lost. Answers whether a thread waits for that.
    pub(super) fn finish(&mut self, bytes: usize) -> bool {
        self.finished += bytes as u64;
        self.waiting > 0
    }

    pub(super) fn finished(&self) -> u64 {
        self.finished
    }
}

/// How many bytes wait while the log's reader does not read: some 5,000 lines. The writer may hold a
/// second batch of that size.
const BYTES_MAX: usize = 1024 * 1024;
/// So many bytes leave at once, even if each line may wait.
const BATCH_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_is_woken_for_the_first_line_the_first_urgent_one_and_a_full_batch() {
        let mut queue = LineQueue::new();
        let some = [b'.'; BATCH_BYTES / 2];
        for (line, may_wait, wakes, is_urgent) in [
            (&some[..8], true, true, false),
            (&some[..8], true, false, false),
            (&some[..8], false, true, true),
            (&some[..8], false, false, true),
        ] {
            assert_eq!(queue.push(line, may_wait), wakes);
            assert_eq!(queue.is_urgent(), is_urgent);
        }
        queue.take(&mut Vec::new());
        assert!(!queue.is_urgent());
        for wakes in [true, true, false] {
            assert_eq!(queue.push(&some, true), wakes);
        }
    }

    #[test]
    fn lines_that_find_no_room_are_counted_and_the_others_keep_their_order() {
        let mut queue = LineQueue::new();
        let line = [b'.'; 1024];
        for _ in 0..BYTES_MAX / line.len() {
            queue.push(&line, true);
        }
        for _ in 0..3 {
            assert!(!queue.push(b"dropped\n", false));
        }

        let mut batch = Vec::new();
        let taken = queue.take(&mut batch);

        let bytes = BYTES_MAX;
        let expected = Taken { dropped: 3, bytes };
        assert_eq!(taken, expected);
        assert_eq!(batch.len(), bytes);
        assert!(queue.push(b"kept\n", true), "there is room again");
        assert_eq!(queue.take(&mut Vec::new()).dropped, 0);
    }

    #[test]
    fn what_was_accepted_is_finished_when_its_batch_is() {
        let mut queue = LineQueue::new();
        queue.push(b"one\n", true);
        let mut batch = Vec::new();
        let taken = queue.take(&mut batch);
        queue.push(b"two\n", true);
        let both = queue.hurry();

        queue.finish(taken.bytes);
        assert!(queue.finished() < both);
        batch.clear();
        let taken = queue.take(&mut batch);
        queue.finish(taken.bytes);
        assert_eq!(queue.finished(), both);
    }
}
