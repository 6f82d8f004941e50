//! The context of one handler in one generation, which its plugin knows as the `ctx` of the host table.
//!
//! A context lives as long as the process, because a thread of a retired plugin may still call with it.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use wsh::{abi, rules};

use super::asks::{HandlerAsks, TopicUse};
use super::handler_jobs::HandlerJobs;
use super::handler_log::CapturedLines;
use super::quarantine::Quarantine;
use super::throttle::Throttle;
use crate::config::HandlerConfig;
use crate::engine::Failure;
use crate::metrics::HandlerMeters;
use crate::outbound::controls::outgoing::PAYLOAD_BYTES_MAX;
use crate::runtime::wakes;
use crate::sessions::mailbox::letter::Letter;
use crate::sessions::mailbox::{Mailbox, Undelivered};
use crate::sessions::prepared_message::PreparedMessage;
use crate::shared::Shared;
use crate::ws::frame;

/// What the configuration lets a handler do, for a generation's whole life.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Rights {
    /// How many threads of `spawn` may run for it at a time.
    pub(crate) threads_max: usize,
    /// Whether it may write bytes that are no frames.
    pub(crate) raw: bool,
}

impl Rights {
    pub(crate) fn of(settings: &HandlerConfig) -> Rights {
        Rights {
            threads_max: settings.limits.threads_max,
            raw: settings.raw,
        }
    }
}

/// What the functions of the host table that take `ctx` need.
#[derive(Debug)]
pub(crate) struct HandlerContext {
    pub(crate) handler: Arc<str>,
    pub(crate) generation: u64,
    pub(crate) shared: Arc<Shared>,
    pub(crate) rights: Rights,
    threads: AtomicUsize,
    has_ended: AtomicBool,
    pub(crate) quarantine: Quarantine,
    /// Whether the log says that the handler chose none of the subprotocols that a client offered.
    has_warned_of_protocols: AtomicBool,
    pub(crate) throttle: Throttle,
    /// What is counted of the handler, over all its generations.
    pub(crate) meters: Arc<HandlerMeters>,
    pub(super) asks: HandlerAsks,
    pub(super) jobs: HandlerJobs,
    /// Where the handler's lines of the log go instead, in the process of a trial, which has no log.
    pub(crate) captured_lines: Option<CapturedLines>,
}

impl HandlerContext {
    /// Makes a context, which is never freed. With `captured_lines` the handler's lines go there instead of the log.
    pub(crate) fn leak(
        handler: &str,
        generation: u64,
        shared: &Arc<Shared>,
        rights: Rights,
        captured_lines: Option<CapturedLines>,
    ) -> &'static HandlerContext {
        Box::leak(Box::new(HandlerContext {
            handler: handler.into(),
            generation,
            shared: shared.clone(),
            rights,
            threads: AtomicUsize::new(0),
            has_ended: AtomicBool::new(false),
            quarantine: Quarantine::default(),
            has_warned_of_protocols: AtomicBool::new(false),
            throttle: Throttle::default(),
            meters: shared.meters.handler(handler),
            asks: HandlerAsks::new(&shared.settings_of(handler)),
            jobs: HandlerJobs::default(),
            captured_lines,
        }))
    }

    /// Ends the context: every function that takes it answers GONE from now on, but `log`.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
        self.end_hearing();
    }

    /// Notes that the handler chose none of a client's subprotocols. True the first time.
    pub(crate) fn is_first_to_pass_over_protocols(&self) -> bool {
        !self.has_warned_of_protocols.swap(true, Ordering::Relaxed)
    }

    /// How many threads of [`spawn`](Self::spawn) run now.
    pub(crate) fn threads(&self) -> usize {
        self.threads.load(Ordering::Acquire)
    }

    pub(crate) fn send_to(&self, id: u64, kind: u32, payload: &[u8]) -> Result<u64, abi::Status> {
        let mailbox = self.find(id)?;
        let message = prepare(kind, payload)?;
        wakes::do_work_now();
        mailbox.post(Letter::Send(message)).map_err(status_of)
    }

    pub(crate) fn close_to(&self, id: u64, code: u32, reason: &str) -> Result<(), abi::Status> {
        let code = rules::close(code, reason)?;
        let letter = Letter::Close {
            code,
            reason: reason.to_owned(),
        };
        let mailbox = self.find(id)?;
        wakes::do_work_now();
        mailbox.post(letter).map_err(status_of)?;
        Ok(())
    }

    pub(crate) fn notify(&self, id: u64, note: u64) -> Result<(), abi::Status> {
        let mailbox = self.find(id)?;
        wakes::do_work_now();
        mailbox.post(Letter::Note(note)).map_err(status_of)?;
        Ok(())
    }

    pub(crate) fn wake_after(&self, id: u64, ms: u64) -> Result<(), abi::Status> {
        let mailbox = self.find(id)?;
        self.shared
            .sessions
            .wake_after(&mailbox, ms)
            .map_err(status_of)
    }

    pub(crate) fn wake(&self, id: u64) -> Result<(), abi::Status> {
        let mailbox = self.find(id)?;
        wakes::do_work_now();
        mailbox.wake().map_err(status_of)
    }

    pub(crate) fn publish(
        &self,
        topic: &str,
        kind: u32,
        payload: &[u8],
        except: u64,
    ) -> Result<usize, abi::Status> {
        self.check_not_ended()?;
        // Encoded once for all subscribers, and before a lock is taken.
        let message = prepare(kind, payload)?;
        let topic = self.topic(topic, TopicUse::Any)?;
        let published = self.shared.node.publish(topic, &message, except);
        published.map_err(|failure| match failure {
            Failure::TooBig { .. } => abi::TOO_BIG,
            _ => abi::FULL,
        })
    }

    /// Runs `run(argument)` on a new thread, which counts as the handler's until its end.
    pub(crate) fn spawn(
        &'static self,
        run: unsafe extern "C" fn(*mut c_void),
        argument: *mut c_void,
    ) -> Result<(), abi::Status> {
        self.check_not_ended()?;
        if self.threads.fetch_add(1, Ordering::Relaxed) >= self.rights.threads_max {
            self.threads.fetch_sub(1, Ordering::Relaxed);
            return Err(abi::TOO_BIG);
        }
        let job = ThreadJob { run, argument };
        let name = format!("{}-{}", self.handler, self.generation);
        let spawned = std::thread::Builder::new().name(name).spawn(move || {
            // Thread-locals are dropped from the last to the first. This one is the first, so the thread counts until no
            // code of the plugin can run on it.
            COUNTED.set(Some(CountedThread(self)));
            job.run();
        });
        spawned.map(drop).map_err(|_| {
            self.threads.fetch_sub(1, Ordering::Relaxed);
            abi::ERROR
        })
    }

    /// Sends bytes that are no frame.
    pub(crate) fn write_to(&self, id: u64, bytes: &[u8]) -> Result<u64, abi::Status> {
        self.check_raw()?;
        let mailbox = self.find(id)?;
        // Before the bytes are read: a length that is too large may be a mistake.
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(abi::TOO_BIG);
        }
        let letter = Letter::Send(PreparedMessage::verbatim(bytes));
        wakes::do_work_now();
        mailbox.post(letter).map_err(status_of)
    }

    /// UNSUPPORTED unless the handler may write bytes that are no frames.
    pub(crate) fn check_raw(&self) -> Result<(), abi::Status> {
        if self.rights.raw {
            Ok(())
        } else {
            Err(abi::UNSUPPORTED)
        }
    }

    /// Whether the process is that of a trial, in which no traffic follows.
    pub(super) fn is_trial(&self) -> bool {
        self.captured_lines.is_some()
    }

    /// Whether [`end`](Self::end) was called: the load was given up, or the generation was shut down.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    pub(super) fn find(&self, id: u64) -> Result<Arc<Mailbox>, abi::Status> {
        self.check_not_ended()?;
        let found = self.shared.sessions.find(&self.handler, id);
        found.ok_or(abi::GONE)
    }

    pub(super) fn check_not_ended(&self) -> Result<(), abi::Status> {
        if self.has_ended() {
            return Err(abi::GONE);
        }
        Ok(())
    }
}

/// The handler that this thread belongs to, if [`HandlerContext::spawn`] made the thread.
pub(crate) fn of_this_thread() -> Option<&'static HandlerContext> {
    let counted = COUNTED.take();
    let context = counted.as_ref().map(|counted| counted.0);
    COUNTED.set(counted);
    context
}

/// A thread that counts as a handler's until the drop.
struct CountedThread(&'static HandlerContext);

impl Drop for CountedThread {
    fn drop(&mut self) {
        self.0.threads.fetch_sub(1, Ordering::Release);
    }
}

thread_local! {
    /// Per thread, because its drop at the end of the thread is what ends the count.
    static COUNTED: Cell<Option<CountedThread>> = const { Cell::new(None) };
}

/// What a plugin runs on a thread.
struct ThreadJob {
    run: unsafe extern "C" fn(*mut c_void),
    argument: *mut c_void,
}

// SAFETY: by the ABI (`Host::spawn`) the plugin gives `argument` away to the thread that runs it.
unsafe impl Send for ThreadJob {}

impl ThreadJob {
    fn run(self) {
        // SAFETY: `run` is code of an image that is never unmapped. By the ABI (`Host::spawn`) it may be called once with
        // `argument`, which happens here.
        unsafe { (self.run)(self.argument) }
    }
}

/// Encodes a whole message as one frame.
pub(super) fn prepare(kind: u32, payload: &[u8]) -> Result<Arc<PreparedMessage>, abi::Status> {
    // Before the payload is read: a length that is too large may be a mistake.
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(abi::TOO_BIG);
    }
    let kind = rules::kind_by_id(kind)?;
    // A message that is sent by id or topic is whole, never a part.
    let is_text = !kind.is_unproven_text || simdutf8::basic::from_utf8(payload).is_ok();
    if !kind.is_last || !is_text {
        return Err(abi::INVALID);
    }
    let opcode = frame::opcode_of(kind);
    Ok(PreparedMessage::new(opcode, payload, kind.may_compress))
}

/// The status for a letter that could not be delivered.
pub(super) fn status_of(undelivered: Undelivered) -> abi::Status {
    match undelivered {
        Undelivered::Gone => abi::GONE,
        Undelivered::Full => abi::FULL,
    }
}
