//! What load balancers and supervisors ask: whether the server lives, and whether new clients should come here.
//!
//! They ask in many ways, with any host and without a user, often by HTTP/1.0. `OPTIONS *` and `OPTIONS /` are how haproxy
//! asks when it is told nothing else. They count as the question for readiness. The answers tell nothing else.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::cross_origin::{AllowedPage, is_preflight};
use super::head_reader::{self, HeadDeadline};
use super::request::HttpRequest;
use super::retry_after::retry_after;
use crate::config::Limits;
use crate::http::response::ResponseHead;
use crate::runtime::pacer::Pacer;
use crate::shared::readiness::Readiness;
use crate::transport::Transport;

/// A question of a load balancer or a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// Whether the server lives. Whatever answers lives.
    Liveness,
    /// Whether new clients should come here.
    Readiness,
}

/// The answer to a probe.
#[derive(Debug)]
pub(crate) struct HealthAnswer {
    is_good: bool,
    word: &'static str,
    form: Form,
    /// The page from elsewhere that may read it.
    reader: Option<AllowedPage>,
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    /// The methods that can be used. A good answer has no body then.
    Methods,
}

impl Probe {
    /// The question of a request; `None` if the request is for something else.
    pub(super) fn of(request: &HttpRequest) -> Option<Probe> {
        match (&*request.target.path, request.head.method()) {
            (LIVENESS_PATH, _) => Some(Probe::Liveness),
            (READINESS_PATH, _) | ("*", b"OPTIONS") => Some(Probe::Readiness),
            // Of a page, it is about the handler that answers at `/`, which may judge origins otherwise.
            ("/", b"OPTIONS") if !is_preflight(&request.head) => Some(Probe::Readiness),
            _ => None,
        }
    }

    /// The answer; `None` if the request's method asks for something else than an answer.
    pub(super) fn answer(
        self,
        request: &HttpRequest,
        readiness: Readiness,
    ) -> Option<HealthAnswer> {
        let form = match request.head.method() {
            b"OPTIONS" => Form::Methods,
            b"GET" | b"HEAD" if wants_json(request) => Form::Json,
            b"GET" | b"HEAD" => Form::Text,
            _ => return None,
        };
        let (is_good, word) = match self {
            Probe::Liveness => (true, "alive"),
            Probe::Readiness => (readiness.is_ready(), readiness.word()),
        };
        Some(HealthAnswer {
            is_good,
            word,
            form,
            reader: None,
        })
    }
}

/// The answer to the probe that comes over a connection for which there is no place, and whether it is for a HEAD. `None` if
/// something else comes, or nothing comes soon. `received` is what has come already.
pub(super) async fn probe_of_refused(
    transport: &mut Transport,
    mut received: Vec<u8>,
    limits: &Limits,
    tls_handshakes: &Pacer,
) -> Option<(HealthAnswer, bool)> {
    let end = match head_reader::end(&received, 0, limits).ok()? {
        Some(end) => end,
        None => {
            let deadline = HeadDeadline::of(Instant::now(), limits);
            let read =
                head_reader::read(transport, &mut received, limits, deadline, tls_handshakes);
            timeout(PROBE_TIMEOUT, read).await.ok()?.ok()?
        }
    };
    received.truncate(end);
    let request = HttpRequest::parse(received, limits).ok()?;
    let answer = Probe::of(&request)?.answer(&request, Readiness::Overloaded)?;
    Some((answer, request.head.method() == b"HEAD"))
}

impl HealthAnswer {
    /// The answer as this page may read it.
    pub(super) fn readable_for(mut self, page: Option<AllowedPage>) -> HealthAnswer {
        self.reader = page;
        self
    }

    pub(super) fn status(&self) -> u16 {
        if self.is_good { 200 } else { 503 }
    }

    pub(super) fn content_type(&self) -> &'static str {
        match self.form {
            Form::Json => "application/json",
            Form::Text | Form::Methods => "text/plain; charset=utf-8",
        }
    }

    /// Writes the header lines that answers to probes have.
    pub(super) fn write_lines(&self, head: &mut ResponseHead) {
        head.line("Cache-Control", "no-store");
        if let Some(reader) = &self.reader {
            reader.write_lines(head);
        }
        if self.form == Form::Methods {
            head.line("Allow", READ_METHODS.join(", "));
        }
        if !self.is_good {
            head.number("Retry-After", retry_after(Duration::ZERO));
        }
    }

    pub(super) fn into_body(self) -> Vec<u8> {
        match self.form {
            Form::Methods if self.is_good => Vec::new(),
            Form::Text | Form::Methods => format!("{}\n", self.word).into_bytes(),
            Form::Json => format!("{{\"status\":\"{}\"}}\n", self.word).into_bytes(),
        }
    }
}

/// Whether the request names JSON among what it accepts. `*/*` does not name it.
fn wants_json(request: &HttpRequest) -> bool {
    let mut accepted = request.head.elements("accept");
    accepted.any(|range| {
        let end = range.iter().position(|byte| *byte == b';');
        let kind = range[..end.unwrap_or(range.len())].trim_ascii();
        kind.eq_ignore_ascii_case(b"application/json")
    })
}

/// How long a connection for which there is no place may take to say that it is a probe.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// The methods of what is only read.
pub(super) const READ_METHODS: &[&str] = &["GET", "HEAD", "OPTIONS"];
/// Where the server answers as long as it lives.
const LIVENESS_PATH: &str = "/.wshd/health";
/// Where the server says whether new clients should come here.
const READINESS_PATH: &str = "/.wshd/ready";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    fn request(text: &str) -> HttpRequest {
        let head = text.as_bytes().to_vec();
        HttpRequest::parse(head, &Limits::default()).expect("a request")
    }

    fn answer(text: &str, readiness: Readiness) -> Option<(u16, String)> {
        let request = request(text);
        let answer = Probe::of(&request)?.answer(&request, readiness)?;
        let status = answer.status();
        let body = String::from_utf8(answer.into_body()).expect("text");
        Some((status, body))
    }

    #[test]
    fn each_way_to_ask_has_its_answer_in_each_state() {
        let json = "Accept: text/html, Application/JSON;q=0.9\r\n";
        for (line, lines, ready, draining) in [
            ("GET /.wshd/health", "", (200, "alive\n"), (200, "alive\n")),
            (
                "GET /.wshd/health",
                json,
                (200, "{\"status\":\"alive\"}\n"),
                (200, "{\"status\":\"alive\"}\n"),
            ),
            (
                "GET /.wshd/ready?x=1",
                "Accept: */*\r\n",
                (200, "ready\n"),
                (503, "draining\n"),
            ),
            (
                "HEAD /.wshd/ready",
                json,
                (200, "{\"status\":\"ready\"}\n"),
                (503, "{\"status\":\"draining\"}\n"),
            ),
            ("OPTIONS /.wshd/health", json, (200, ""), (200, "")),
            ("OPTIONS /.wshd/ready", json, (200, ""), (503, "draining\n")),
            ("OPTIONS *", "", (200, ""), (503, "draining\n")),
            ("OPTIONS /", "", (200, ""), (503, "draining\n")),
        ] {
            for (readiness, (status, body)) in
                [(Readiness::Ready, ready), (Readiness::Draining, draining)]
            {
                let text = format!("{line} HTTP/1.0\r\n{lines}\r\n");
                let expected = Some((status, body.to_owned()));
                assert_eq!(answer(&text, readiness), expected, "{text} {readiness:?}");
            }
        }
    }

    #[test]
    fn what_asks_for_something_else_is_no_probe() {
        for line in [
            "GET /",
            "HEAD /",
            "OPTIONS /echo",
            "GET /.wshd/healthy",
            "GET /.wshd/handlers.json",
        ] {
            let text = format!("{line} HTTP/1.0\r\n\r\n");
            assert_eq!(Probe::of(&request(&text)), None, "{line}");
        }
        let post = "POST /.wshd/ready HTTP/1.0\r\n\r\n";
        assert_eq!(answer(post, Readiness::Ready), None);
    }
}
