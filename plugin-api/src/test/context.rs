//! The `ctx` of the host table: one handler in one generation.

use std::{
    ffi::c_void,
    ptr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    abi::{self, Status},
    rules,
    test::{
        hub::{
            Hub, MailboxItem,
            asks::{Asker, Request, TopicUse},
        },
        log::Line,
    },
};

/// The target of the host functions that take a `ctx`.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) hub: Arc<Hub>,
    /// The number of the generation.
    generation: u64,
    has_ended: AtomicBool,
}

impl Context {
    /// A context that lives as long as the process, and the `ctx` that finds it.
    ///
    /// The `ctx` is a number and not an address, so a `ctx` that a handler made up is only an error.
    pub(super) fn new(hub: &Arc<Hub>, generation: u64) -> (Arc<Context>, *mut c_void) {
        let context = Arc::new(Context {
            hub: Arc::clone(hub),
            generation,
            has_ended: AtomicBool::new(false),
        });
        let mut contexts = CONTEXTS.lock().unwrap_or_else(PoisonError::into_inner);
        contexts.push(Arc::clone(&context));
        (context, ptr::without_provenance_mut(contexts.len()))
    }

    pub(super) fn find(ctx: *mut c_void) -> Result<Arc<Context>, Status> {
        let contexts = CONTEXTS.lock().unwrap_or_else(PoisonError::into_inner);
        let found = ctx.addr().checked_sub(1).and_then(|at| contexts.get(at));
        found.cloned().ok_or(abi::MISUSE)
    }

    /// Ends the generation: every function but `log` answers GONE from now on.
    pub(super) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    pub(super) fn send_to(&self, id: u64, kind: u32, bytes: &[u8]) -> Result<u64, Status> {
        self.still_going()?;
        self.hub.post(id, item(kind, bytes)?)
    }

    pub(super) fn write_to(&self, id: u64, bytes: &[u8]) -> Result<u64, Status> {
        if !self.hub.allows_raw {
            return Err(abi::UNSUPPORTED);
        }
        self.still_going()?;
        self.hub.post(id, MailboxItem::Raw(bytes.into()))
    }

    /// Whether the handler may write past the framing, and its generation has not ended.
    pub(super) fn allows_raw(&self) -> bool {
        self.hub.allows_raw && self.still_going().is_ok()
    }

    pub(super) fn close_to(&self, id: u64, code: u32, reason: &str) -> Result<(), Status> {
        self.still_going()?;
        rules::close(code, reason)?;
        let reason = reason.into();
        self.hub
            .post(id, MailboxItem::Close { code, reason })
            .map(drop)
    }

    pub(super) fn publish(
        &self,
        topic: &str,
        kind: u32,
        bytes: &[u8],
        except: u64,
    ) -> Result<u64, Status> {
        self.still_going()?;
        self.hub.check_topic(topic, TopicUse::Any)?;
        self.hub.publish(topic, &item(kind, bytes)?, except)
    }

    /// Publishes a message, and asks for its position.
    pub(super) fn publish_acked(
        &self,
        (id, token): (u64, u64),
        topic: &str,
        (kind, bytes): (u32, &[u8]),
        except: u64,
    ) -> Result<(), Status> {
        let item = item(kind, bytes)?;
        self.hub.check_topic(topic, TopicUse::History)?;
        let topic = topic.into();
        self.ask(
            (id, token),
            Request::PublishAcked {
                topic,
                item,
                except,
            },
        )
    }

    /// Asks for a session, or with id 0 for the handler itself.
    pub(super) fn ask(&self, (id, token): (u64, u64), request: Request) -> Result<(), Status> {
        self.still_going()?;
        let asker = match id {
            0 => Asker::Handler(self.generation),
            id => Asker::Session(id),
        };
        self.hub.ask(asker, token, request)
    }

    pub(super) fn wake(&self, id: u64) -> Result<(), Status> {
        self.still_going()?;
        self.hub.wake(id)
    }

    pub(super) fn wake_after(&self, id: u64, ms: u64) -> Result<(), Status> {
        self.still_going()?;
        self.hub.wake_after(id, ms)
    }

    pub(super) fn notify(&self, id: u64, note: u64) -> Result<(), Status> {
        self.still_going()?;
        self.hub.post(id, MailboxItem::Note(note)).map(drop)
    }

    /// Runs a job on a thread of its own, and counts the thread.
    pub(super) fn spawn(
        self: Arc<Self>,
        job: impl FnOnce() + Send + 'static,
    ) -> Result<(), Status> {
        self.still_going()?;
        self.hub.begin_thread()?;
        let hub = Arc::clone(&self.hub);
        let thread = std::thread::Builder::new().spawn(move || {
            job();
            hub.end_thread();
        });
        if thread.is_err() {
            self.hub.end_thread();
        }
        thread.map(drop).map_err(|_| abi::ERROR)
    }

    pub(super) fn log(&self, line: Line) {
        self.hub.log(line);
    }

    fn still_going(&self) -> Result<(), Status> {
        if self.has_ended.load(Ordering::Acquire) {
            return Err(abi::GONE);
        }
        Ok(())
    }
}

/// A message by id, which is always whole.
fn item(kind: u32, bytes: &[u8]) -> Result<MailboxItem, Status> {
    if bytes.len() > rules::MESSAGE_BYTES_MAX {
        return Err(abi::TOO_BIG);
    }
    let rules::ParsedKind {
        opcode, is_last, ..
    } = rules::kind_by_id(kind)?;
    let is_text = opcode != abi::TEXT || str::from_utf8(bytes).is_ok();
    if !is_last || !is_text {
        return Err(abi::INVALID);
    }
    let (kind, bytes) = (opcode, bytes.into());
    Ok(MailboxItem::Send { kind, bytes })
}

static CONTEXTS: Mutex<Vec<Arc<Context>>> = Mutex::new(Vec::new());
