//! What scripts of pages from elsewhere are told of answers that are no WebSocket (the Fetch standard's CORS protocol).
//!
//! Pages that `origins` allows may connect, so browsers that ask before are told that they may. Of all answers such
//! pages may read those to probes only: by these a page learns that a server is there, and browsers ask their users,
//! before its WebSocket does. No page may read files, or anything that depends on a user.

use crate::config::Origins;
use crate::config::origin::Origin;
use crate::connection::health::READ_METHODS;
use crate::connection::origin;
use crate::connection::request::HttpRequest;
use crate::http::head::Head;
use crate::http::response::ResponseHead;

/// A page from elsewhere that may connect, by its origin.
#[derive(Debug)]
pub(super) struct AllowedPage(Box<str>);

/// A question of a browser that is about to send another request for a page, where the answer is yes.
#[derive(Debug)]
pub(crate) struct Preflight {
    page: AllowedPage,
    /// The lines of the answer that say yes to questions that only some browsers ask.
    permissions: Vec<&'static str>,
}

impl AllowedPage {
    /// The page that a request for `host` is of; `None` where `origins` does not allow it, or no browser sends such an
    /// origin.
    pub(super) fn of(request: &HttpRequest, host: &str, origins: &Origins) -> Option<AllowedPage> {
        let page = request.head.value("origin").ok()??;
        let page = std::str::from_utf8(page).ok()?;
        // What is no origin is not repeated in an answer, even where all origins are allowed.
        Origin::parse(page)?;
        origin::is_allowed(origins, page, host, request.is_of_tls())
            .then(|| AllowedPage(page.into()))
    }

    /// Lets the page read the answer.
    pub(super) fn write_lines(&self, head: &mut ResponseHead) {
        head.line("Access-Control-Allow-Origin", &*self.0);
        head.line("Vary", "Origin");
    }
}

impl Preflight {
    /// The question of a request for `host`; `None` if it is none, or of a page that `origins` does not allow.
    pub(super) fn of(request: &HttpRequest, host: &str, origins: &Origins) -> Option<Preflight> {
        if !is_preflight(&request.head) {
            return None;
        }
        let asks = |question: &str| {
            let mut values = request.head.values(question);
            values.any(|value| value == b"true")
        };
        let asked = LOCAL_ACCESS.iter().filter(|(question, _)| asks(question));
        Some(Preflight {
            page: AllowedPage::of(request, host, origins)?,
            permissions: asked.map(|(_, permission)| *permission).collect(),
        })
    }

    pub(super) fn write_lines(&self, head: &mut ResponseHead) {
        head.line("Allow", READ_METHODS.join(", "));
        self.page.write_lines(head);
        head.line("Access-Control-Allow-Methods", "GET, HEAD");
        for permission in &self.permissions {
            head.line(permission, "true");
        }
    }
}

/// Whether a browser asks by this request what the next one for a page may be.
pub(super) fn is_preflight(head: &Head) -> bool {
    let names_method = head.values("access-control-request-method").next();
    head.method() == b"OPTIONS" && names_method.is_some()
}

/// What browsers ask before a page of a public address reaches this machine or its network, and what says yes: Private
/// Network Access, under both names that it had. Chromium 142 and later ask the user instead, and no server.
const LOCAL_ACCESS: [(&str, &str); 2] = [
    (
        "access-control-request-private-network",
        "Access-Control-Allow-Private-Network",
    ),
    (
        "access-control-request-local-network",
        "Access-Control-Allow-Local-Network",
    ),
];
