//! The host that a request is for, and whether this server answers for it.
//!
//! Any site can have a name of its own lead to 127.0.0.1 (DNS rebinding). Its pages are then of the
//! host of the server that listens there. So a server that listens on loopback addresses only answers
//! for names that always mean the machine itself, and for those that `hosts` lists.

use crate::config::authority::{Authority, is_below};
use crate::config::{Config, Hosts};
use crate::connection::reply::Reply;
use crate::http::head::Head;
use crate::http::target::Target;

/// The host of a request, with its port if it says one. Empty where the request has no `Host`, which
/// HTTP/1.0 allows.
pub(crate) fn of(head: &Head, target: &Target) -> Result<String, Reply> {
    let line = head
        .value("host")
        .map_err(|_| Reply::Malformed("`Host` stands more than once"))?;
    let host = match line {
        None if head.is_http_1_1() => return Err(Reply::Malformed("`Host` is missing")),
        None => "",
        Some(line) => {
            let text = std::str::from_utf8(line).ok();
            let text = text.filter(|text| Authority::parse(text).is_some());
            text.ok_or(Reply::Malformed("`Host` is no host with or without a port"))?
        }
    };
    // The authority of an absolute target counts instead (RFC 9112 §3.2.2).
    let host = (target.origin.as_ref()).map_or(host, |origin| &*origin.authority);
    Ok(host.to_owned())
}

/// Whether an absolute target is for the host and the port that the configuration wants of WebSockets, whatever its
/// scheme. Other targets name neither.
pub(super) fn is_valid_target(target: &Target, config: &Config) -> bool {
    let Some(origin) = &target.origin else {
        return true;
    };
    let Some(found) = Authority::parse(&origin.authority) else {
        return false;
    };
    let port = found.port.unwrap_or(origin.scheme.default_port());
    let is_host = |wanted: &String| wanted.eq_ignore_ascii_case(found.host);
    config.validation_host.as_ref().is_none_or(is_host)
        && config.validation_port.is_none_or(|wanted| wanted == port)
}

/// Whether an absolute target names the host that the configuration wants of WebSockets. The operator has said that this
/// server is that host, so `hosts` need not list it.
pub(super) fn is_validation_host(target: &Target, config: &Config) -> bool {
    let (Some(origin), Some(wanted)) = (&target.origin, &config.validation_host) else {
        return false;
    };
    Authority::parse(&origin.authority).is_some_and(|it| wanted.eq_ignore_ascii_case(it.host))
}

/// Whether the server answers a request for `host`. `is_loopback_only`: the server listens on loopback
/// addresses only.
pub(crate) fn is_served(hosts: &Hosts, is_loopback_only: bool, host: &str) -> bool {
    let listed: &[String] = match hosts {
        Hosts::Any => return true,
        Hosts::Local if !is_loopback_only => return true,
        Hosts::Local => &[],
        Hosts::Listed(listed) => listed,
    };
    // Only a browser can be led here by a foreign name, and a browser always sends the host.
    let Some(authority) = Authority::parse(host) else {
        return host.is_empty();
    };
    authority.is_address()
        || authority.is_loopback()
        || listed.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => is_below(authority.host, parent),
            None => name.eq_ignore_ascii_case(authority.host),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(request: &str) -> Result<String, u16> {
        let head = Head::parse(request.as_bytes().into(), 9).expect("a head");
        let target = Target::parse(head.target()).expect("a target");
        of(&head, &target).map_err(|reply| reply.status())
    }

    #[test]
    fn a_request_is_for_the_one_host_that_it_says() {
        for (request, expected) in [
            ("GET / HTTP/1.1\r\nHost: a:1\r\n\r\n", Ok("a:1")),
            ("GET http://b:2/ HTTP/1.1\r\nHost: a:1\r\n\r\n", Ok("b:2")),
            ("GET ws://b HTTP/1.1\r\nHost: a:1\r\n\r\n", Ok("b")),
            ("GET / HTTP/1.0\r\n\r\n", Ok("")),
            ("GET / HTTP/1.1\r\n\r\n", Err(400)),
            ("GET http://b/ HTTP/1.1\r\n\r\n", Err(400)),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Err(400)),
            ("GET / HTTP/1.0\r\nHost:\r\n\r\n", Err(400)),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Err(400)),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Err(400)),
            ("GET / HTTP/1.1\r\nHost: x@a\r\n\r\n", Err(400)),
            ("GET http://b/ HTTP/1.1\r\nHost: \r\n\r\n", Err(400)),
        ] {
            let expected = expected.map(str::to_owned);
            assert_eq!(host_of(request), expected, "{request}");
        }
    }

    #[test]
    fn the_absolute_target_of_a_websocket_is_for_the_host_and_port_that_are_wanted() {
        let wanted = |host: Option<&str>, port| Config {
            validation_host: host.map(str::to_owned),
            validation_port: port,
            ..Config::default()
        };
        for (target, host, port, expected) in [
            ("/echo", Some("a"), Some(1), true),
            ("http://b:2/echo", Some("a"), None, false),
            ("http://a:2/echo", Some("a"), Some(1), false),
            ("http://a/echo", Some("a"), Some(80), true),
            ("https://a/echo", Some("a"), Some(443), true),
            ("https://b/echo", Some("a"), None, false),
            ("ws://b:2/echo", None, None, true),
            ("ws://a/echo", Some("a"), None, true),
            ("wss://A:7/echo", Some("a"), None, true),
            ("ws://b/echo", Some("a"), None, false),
            ("ws://a.b/echo", Some("a"), None, false),
            ("ws://a/echo", None, Some(80), true),
            ("wss://a/echo", None, Some(443), true),
            ("wss://a/echo", None, Some(80), false),
            ("ws://a:81/echo", Some("a"), Some(80), false),
            ("ws://[::1]:80/echo", Some("[::1]"), Some(80), true),
        ] {
            let config = wanted(host, port);
            let target = Target::parse(target.as_bytes()).expect("a target");
            let found = is_valid_target(&target, &config);
            assert_eq!(found, expected, "{target:?} {host:?} {port:?}");
        }
        for (target, host, expected) in [
            ("ws://A:2/echo", Some("a"), true),
            ("http://[::1]/echo", Some("[::1]"), true),
            ("ws://b/echo", Some("a"), false),
            ("ws://a/echo", None, false),
            ("/echo", Some("a"), false),
        ] {
            let config = wanted(host, None);
            let target = Target::parse(target.as_bytes()).expect("a target");
            let found = is_validation_host(&target, &config);
            assert_eq!(found, expected, "{target:?} {host:?}");
        }
    }

    #[test]
    fn loopback_alone_answers_for_names_of_the_machine_itself_and_those_listed() {
        let listed = Hosts::Listed(vec!["example.com".into(), "*.example.org".into()]);
        for (host, local, in_list) in [
            ("localhost:9998", true, true),
            ("foo.localhost", true, true),
            ("127.0.0.1:1", true, true),
            ("192.168.0.1", true, true),
            ("[fe80::1]:1", true, true),
            ("", true, true),
            ("example.com:80", false, true),
            ("EXAMPLE.com.", false, true),
            ("a.b.example.org", false, true),
            ("example.org", false, false),
            ("a.example.com", false, false),
            ("evil.example:9998", false, false),
            ("localhost.evil.example", false, false),
            ("127.0.0.1.evil.example", false, false),
        ] {
            assert_eq!(is_served(&Hosts::Local, true, host), local, "{host}");
            assert_eq!(is_served(&listed, true, host), in_list, "{host}");
            assert_eq!(is_served(&listed, false, host), in_list, "{host}");
            assert!(is_served(&Hosts::Local, false, host), "{host}");
            assert!(is_served(&Hosts::Any, true, host), "{host}");
        }
    }
}
