//! What is asked: from the method and the target of a request to what is wanted.

use percent_encoding::percent_decode_str;
use wsh::{close_codes, rules};

use crate::config::Networks;
use crate::http::target::Target;

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdminRequest {
    Status,
    Handlers,
    /// The server in numbers, as JSON.
    Snapshot,
    /// The server in numbers, for Prometheus.
    Metrics,
    Sessions(SessionsWanted),
    /// Read the configuration again and load what has changed, or load this handler anew.
    Reload {
        handler: Option<String>,
    },
    /// Have another process take the place of this one.
    Upgrade,
    /// Let no new session begin, and close those that are open.
    Drain {
        handler: String,
    },
    /// Let no new session begin.
    Quarantine {
        handler: String,
    },
    /// Let sessions begin again.
    Release {
        handler: String,
    },
    Close {
        which: WhichSessions,
        code: u16,
        reason: String,
    },
}

/// Which sessions are closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WhichSessions {
    One(u64),
    /// Those of this handler whose peers have these addresses; `None` is all handlers, or all addresses. One of both is some.
    Those {
        handler: Option<String>,
        of: Option<Networks>,
    },
}

/// Which sessions are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionsWanted {
    /// Of this handler; `None` is of all.
    pub(crate) handler: Option<String>,
    /// Those with ids above this one.
    pub(crate) after: u64,
    /// How many at most.
    pub(crate) max: usize,
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestFault {
    #[error("the request is no HTTP/1.1 request")]
    Malformed,
    #[error("the request did not come within {} s", super::connection::HEAD_TIMEOUT.as_secs())]
    Late,
    #[error(
        "the head of a request may have {} bytes",
        super::connection::HEAD_BYTES_MAX
    )]
    TooLong,
    #[error("there is no `{0}`; there are {PATHS}")]
    NoPath(String),
    #[error("`{path}` wants {wanted}, found {found}")]
    Method {
        path: String,
        wanted: &'static str,
        found: String,
    },
    #[error("`{path}` wants `{wanted}`")]
    Missing { path: String, wanted: &'static str },
    #[error("`{path}` takes no `{name}`")]
    Unknown { path: String, name: String },
    #[error("`{name}` wants {wanted}, found `{found}`")]
    Value {
        name: &'static str,
        wanted: &'static str,
        found: String,
    },
}

impl RequestFault {
    pub(super) fn status(&self) -> u16 {
        match self {
            RequestFault::Malformed
            | RequestFault::Missing { .. }
            | RequestFault::Unknown { .. }
            | RequestFault::Value { .. } => 400,
            RequestFault::NoPath(_) => 404,
            RequestFault::Method { .. } => 405,
            RequestFault::Late => 408,
            RequestFault::TooLong => 431,
        }
    }
}

impl AdminRequest {
    /// Reads what is asked by a method and a target like `/sessions?handler=chat`.
    pub(super) fn parse(method: &[u8], target: &[u8]) -> Result<AdminRequest, RequestFault> {
        let target = Target::parse(target).ok_or(RequestFault::Malformed)?;
        let query = std::str::from_utf8(&target.query).map_err(|_| RequestFault::Malformed)?;
        let path = target.path;
        let wanted = match &*path {
            "/status" | "/handlers" | "/sessions" | "/snapshot" | "/metrics" => "GET",
            "/reload" | "/upgrade" | "/drain" | "/quarantine" | "/release" | "/close" => "POST",
            _ => return Err(RequestFault::NoPath(path)),
        };
        // HEAD is answered like GET, without the body.
        if method != wanted.as_bytes() && (wanted, method) != ("GET", b"HEAD") {
            let found = String::from_utf8_lossy(method).into_owned();
            return Err(RequestFault::Method {
                path,
                wanted,
                found,
            });
        }
        let mut fields = Fields::parse(path, query)?;
        let request = match &*fields.path {
            "/status" => AdminRequest::Status,
            "/handlers" => AdminRequest::Handlers,
            "/snapshot" => AdminRequest::Snapshot,
            "/metrics" => AdminRequest::Metrics,
            "/sessions" => AdminRequest::Sessions(SessionsWanted {
                handler: fields.take("handler"),
                after: fields.number("after", u64::MAX)?.unwrap_or(0),
                max: fields.number("max", SESSIONS_MAX)?.unwrap_or(SESSIONS_MAX) as usize,
            }),
            "/reload" => AdminRequest::Reload {
                handler: fields.take("handler"),
            },
            "/upgrade" => AdminRequest::Upgrade,
            "/drain" => AdminRequest::Drain {
                handler: fields.need("handler")?,
            },
            "/quarantine" => AdminRequest::Quarantine {
                handler: fields.need("handler")?,
            },
            "/release" => AdminRequest::Release {
                handler: fields.need("handler")?,
            },
            _ => fields.close()?,
        };
        fields.end()?;
        Ok(request)
    }
}

/// The fields of a query, each of which is taken once.
struct Fields {
    path: String,
    fields: Vec<(String, String)>,
}

impl Fields {
    fn parse(path: String, query: &str) -> Result<Fields, RequestFault> {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            let decoded = percent_decode_str(&text).decode_utf8();
            decoded
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| RequestFault::Malformed)
        };
        let fields = query.split('&').filter(|field| !field.is_empty());
        let fields = fields.map(|field| {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            Ok((decode(name)?, decode(value)?))
        });
        let fields = fields.collect::<Result<_, _>>()?;
        Ok(Fields { path, fields })
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.fields.iter().position(|(found, _)| found == name)?;
        Some(self.fields.remove(at).1)
    }

    fn need(&mut self, wanted: &'static str) -> Result<String, RequestFault> {
        self.take(wanted).ok_or_else(|| RequestFault::Missing {
            path: self.path.clone(),
            wanted,
        })
    }

    fn number(&mut self, name: &'static str, max: u64) -> Result<Option<u64>, RequestFault> {
        let Some(found) = self.take(name) else {
            return Ok(None);
        };
        match found.parse() {
            Ok(number) if number <= max => Ok(Some(number)),
            _ => Err(RequestFault::Value {
                name,
                wanted: if max == SESSIONS_MAX {
                    "a number up to 1000"
                } else {
                    "a number"
                },
                found,
            }),
        }
    }

    fn close(&mut self) -> Result<AdminRequest, RequestFault> {
        let which = self.which()?;
        let code = self.number("code", u64::MAX)?;
        let code = code.unwrap_or(close_codes::GOING_AWAY.into());
        let reason = self.take("reason").unwrap_or_default();
        let checked = u32::try_from(code).ok().filter(|code| *code != 0);
        let checked = checked.and_then(|code| rules::close(code, "").ok());
        let code = checked.ok_or_else(|| RequestFault::Value {
            name: "code",
            wanted: "a code that may be sent: 1000 to 1003, 1007 to 1014 or 3000 to 4999",
            found: code.to_string(),
        })?;
        if reason.len() > rules::REASON_BYTES_MAX {
            return Err(RequestFault::Value {
                name: "reason",
                wanted: "at most 123 bytes",
                found: reason,
            });
        }
        Ok(AdminRequest::Close {
            which,
            code,
            reason,
        })
    }

    /// Which sessions are meant: one, or those of a handler, of an address or of both.
    fn which(&mut self) -> Result<WhichSessions, RequestFault> {
        if let Some(session) = self.number("session", u64::MAX)? {
            return Ok(WhichSessions::One(session));
        }
        let handler = self.take("handler");
        let networks = |found: String| {
            Networks::of(&[&found]).map_err(|fault| RequestFault::Value {
                name: "address",
                wanted: fault.wanted(),
                found,
            })
        };
        let of = self.take("address").map(networks).transpose()?;
        match (&handler, &of) {
            (None, None) => Err(RequestFault::Missing {
                path: self.path.clone(),
                wanted: "session`, `handler` or `address",
            }),
            _ => Ok(WhichSessions::Those { handler, of }),
        }
    }

    /// Fails if a field is left: a misspelt name must not mean all handlers.
    fn end(self) -> Result<(), RequestFault> {
        let path = self.path;
        match self.fields.into_iter().next() {
            Some((name, _)) => Err(RequestFault::Unknown { path, name }),
            None => Ok(()),
        }
    }
}

/// The sessions that one answer lists at most.
pub(crate) const SESSIONS_MAX: u64 = 1_000;
const PATHS: &str = "`/status`, `/handlers`, `/sessions`, `/snapshot`, `/metrics`, and with POST `/reload`, `/upgrade`, `/drain`, `/quarantine`, `/release`, `/close`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_read_or_refused_with_a_sentence() {
        let handler = |name: &str| name.to_owned();
        let sessions = |handler: Option<&str>, after, max| {
            Ok(AdminRequest::Sessions(SessionsWanted {
                handler: handler.map(str::to_owned),
                after,
                max,
            }))
        };
        let close = |session, code, reason: &str| {
            Ok(AdminRequest::Close {
                which: WhichSessions::One(session),
                code,
                reason: reason.to_owned(),
            })
        };
        let those = |handler: Option<&str>, of: Option<&str>| {
            Ok(AdminRequest::Close {
                which: WhichSessions::Those {
                    handler: handler.map(str::to_owned),
                    of: of.map(|of| Networks::of(&[of]).expect("a network")),
                },
                code: 1001,
                reason: String::new(),
            })
        };
        let codes = "`code` wants a code that may be sent: 1000 to 1003, 1007 to 1014 or 3000 to 4999, found";
        for (line, expected) in [
            ("GET /status", Ok(AdminRequest::Status)),
            ("HEAD /status", Ok(AdminRequest::Status)),
            ("GET http://wshd/handlers", Ok(AdminRequest::Handlers)),
            ("GET /sessions", sessions(None, 0, 1000)),
            (
                "GET /sessions?handler=rooms%2Fa+b&after=7&max=2",
                sessions(Some("rooms/a b"), 7, 2),
            ),
            ("POST /reload", Ok(AdminRequest::Reload { handler: None })),
            (
                "POST /reload?handler=",
                Ok(AdminRequest::Reload {
                    handler: Some(handler("")),
                }),
            ),
            ("POST /upgrade", Ok(AdminRequest::Upgrade)),
            (
                "POST /upgrade?now=1",
                Err("`/upgrade` takes no `now`".to_owned()),
            ),
            (
                "POST /drain?handler=chat",
                Ok(AdminRequest::Drain {
                    handler: handler("chat"),
                }),
            ),
            (
                "POST /release?handler=%1b",
                Ok(AdminRequest::Release {
                    handler: handler("\u{1b}"),
                }),
            ),
            ("POST /close?session=4", close(4, 1001, "")),
            (
                "POST /close?session=4&code=4000&reason=go%20on",
                close(4, 4000, "go on"),
            ),
            (
                "POST /status",
                Err("`/status` wants GET, found POST".to_owned()),
            ),
            (
                "GET /reload",
                Err("`/reload` wants POST, found GET".to_owned()),
            ),
            ("POST /drain", Err("`/drain` wants `handler`".to_owned())),
            ("POST /close?handler=chat", those(Some("chat"), None)),
            (
                "POST /close?address=10.0.0.0%2F8&handler=chat",
                those(Some("chat"), Some("10.0.0.0/8")),
            ),
            ("POST /close?address=unix", those(None, Some("unix"))),
            (
                "POST /close?address=all",
                Err("`address` wants `0.0.0.0/0` for every IPv4 address, `::/0` for every IPv6 address, found `all`".to_owned()),
            ),
            (
                "POST /close?session=1&handler=chat",
                Err("`/close` takes no `handler`".to_owned()),
            ),
            (
                "POST /close",
                Err("`/close` wants `session`, `handler` or `address`".to_owned()),
            ),
            (
                "POST /reload?handlr=chat",
                Err("`/reload` takes no `handlr`".to_owned()),
            ),
            (
                "GET /sessions?max=1001",
                Err("`max` wants a number up to 1000, found `1001`".to_owned()),
            ),
            (
                "POST /close?session=x",
                Err("`session` wants a number, found `x`".to_owned()),
            ),
            (
                "POST /close?session=1&code=1006",
                Err(format!("{codes} `1006`")),
            ),
            ("POST /close?session=1&code=0", Err(format!("{codes} `0`"))),
            (
                "POST /close?session=1&code=99999",
                Err(format!("{codes} `99999`")),
            ),
            (
                "GET /sessions?handler=%ff",
                Err("the request is no HTTP/1.1 request".to_owned()),
            ),
        ] {
            let (method, target) = line.split_once(' ').expect("a method and a target");
            let found = AdminRequest::parse(method.as_bytes(), target.as_bytes());
            assert_eq!(found.map_err(|fault| fault.to_string()), expected, "{line}");
        }
    }
}
