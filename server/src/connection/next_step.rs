//! What a connection does next while it speaks HTTP.

use std::sync::Arc;

use super::files::FileTransfer;
use super::handshake::answer::AcceptedHandshake;
use super::handshake::pending::PendingHandshake;
use super::handshake::raw_reply::RawReply;
use super::overlay::Overlay;
use super::refusal_log::RefusedRequest;
use super::reply::Reply;
use super::routing::RequestWithPassword;
use crate::http::head::Head;
use crate::sessions::permits::Permit;
use crate::transport::tls::HandshakeFault;

/// The next step of a connection that has no session yet.
pub(super) enum NextStep {
    /// Read the rest of the request head. The permit is that of an opening handshake.
    ReadHead(Permit),
    /// Wait until the password of a request is compared, and judge the request again.
    ComparePassword(Box<RequestWithPassword>),
    /// Wait for the handler, which has not answered the opening handshake.
    AwaitHandler(Box<PendingHandshake>),
    /// Begin the session that the handler accepts.
    OpenSession(AcceptedHandshake),
    /// Look for the file that the request asks for.
    FindFile(FileRequest),
    /// Send a file, or what there is to say of it.
    SendFile(FileTransfer),
    /// Tell a page of `wshd dev` what happens, until it goes away.
    StreamEvents(Arc<Overlay>),
    /// Answer with the server in numbers.
    Measure,
    /// Answer with what the request asks for, or that nothing is there.
    Reply(Reply),
    /// Log why a request is refused, and answer it.
    Refuse {
        reply: Reply,
        /// `None` where the request could not be read.
        request: Option<RefusedRequest>,
    },
    /// Refuse a connection of which no request was judged, unless it is a probe's.
    RefuseUnread(Reply),
    /// Send what the handler answers in bytes of its own, without a session to follow.
    SendRaw {
        reply: RawReply,
        request: RefusedRequest,
    },
    /// Answer in plain text a peer that does not speak TLS where it has to.
    AnswerWithoutTls(Reply),
    /// Log why a TLS handshake failed, and close. The peer has its alert.
    GiveUpTls(HandshakeFault),
    /// Close without a byte, because the handler wants that.
    Abort { request: RefusedRequest },
    /// Close without a byte, because there is nothing to answer.
    Close,
}

/// A request that a file may answer.
pub(super) struct FileRequest {
    pub(super) head: Head,
    pub(super) path: String,
    pub(super) fallback: Fallback,
}

/// What a request gets where no file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fallback {
    /// 404. Only a file was asked for, so the log says nothing of it.
    NotFound,
    /// 404. A handler was asked for.
    NoHandler,
    /// 503. The file of the handler at this path is refused.
    NotLoaded,
    /// 426. A handler answers at this path, and no upgrade was asked for.
    UpgradeRequired,
}

impl NextStep {
    /// Refuses a peer whose request could not be read.
    pub(super) fn refuse_without_request(reply: Reply) -> NextStep {
        let request = None;
        NextStep::Refuse { reply, request }
    }

    /// Refuses a request.
    pub(super) fn refuse(reply: Reply, request: RefusedRequest) -> NextStep {
        let request = Some(request);
        NextStep::Refuse { reply, request }
    }
}

impl FileRequest {
    /// The step where no file lies.
    pub(super) fn fall_back(self) -> NextStep {
        let reply = self.fallback.reply();
        match self.fallback {
            Fallback::NotFound => NextStep::Reply(reply),
            Fallback::NoHandler | Fallback::NotLoaded | Fallback::UpgradeRequired => {
                NextStep::refuse(reply, RefusedRequest::new(&self.head, self.path))
            }
        }
    }
}

impl Fallback {
    pub(super) fn reply(self) -> Reply {
        match self {
            Fallback::NotFound | Fallback::NoHandler => Reply::NoRoute,
            Fallback::NotLoaded => Reply::NotLoaded,
            Fallback::UpgradeRequired => Reply::UpgradeRequired,
        }
    }
}
