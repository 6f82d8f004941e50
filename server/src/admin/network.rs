//! The admin address: a page for operators, metrics and health over HTTP, where `[admin] listen` wants it.
//!
//! It only tells, and takes no command. Browsers are kept from telling it to the pages of other sites: an answer is for hosts
//! that always mean this machine, or that `hosts` lists, and for no request that a page of another origin makes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tracing::{error, info, warn};

use super::connection::{Answer, Body, Door};
use super::port::OpenPort;
use super::request::AdminRequest;
use super::socket::OpenConnections;
use super::{Admin, connection};
use crate::config::Hosts;
use crate::connection::host;
use crate::http::head::Head;
use crate::http::target::Target;

/// Listens where the configuration wants it, until another process goes on with the socket. A change of it applies at once.
pub(crate) async fn run(admin: Arc<Admin>) {
    let mut told = None;
    let mut open = OpenConnections::default();
    if let Some(listener) = admin.port.open() {
        tell(&listener);
    }
    while !admin.port.is_over() {
        let wanted = admin.server.config.load().admin_listen;
        let mut listener = admin.port.open();
        if wanted != listener.as_ref().map(|it| it.wanted) {
            match admin.port.listen(wanted) {
                Ok(bound) => {
                    bound.iter().for_each(tell);
                    listener = bound;
                    told = None;
                }
                Err(error) => {
                    if let Some(address) = wanted
                        && told.replace(address) != wanted
                    {
                        error!(%address, %error, "cannot listen for the admin page; trying again every second");
                    }
                }
            }
        }
        let is_bound = wanted == listener.as_ref().map(|it| it.wanted);
        tokio::select! {
            () = admin.shared.config_changed.notified() => {}
            () = admin.port.ended() => {}
            () = tokio::time::sleep(RETRY_PAUSE), if !is_bound => {}
            stream = accept(listener.as_ref()) => {
                let admin = admin.clone();
                open.serve(|is_asked| async move {
                    connection::serve(stream, admin, Door::Network, &is_asked).await;
                });
            }
        }
    }
}

fn tell(listener: &OpenPort) {
    let address = listener.socket.local_addr().unwrap_or(listener.wanted);
    info!(%address, "admin page is served");
    if !is_of_this_machine(address.ip()) {
        warn!(%address, "the admin page is for everyone who can reach this address");
    }
}

/// Whether only programs on this machine reach an address.
fn is_of_this_machine(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// The next connection; none ever comes where nothing is listened on.
async fn accept(listener: Option<&OpenPort>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.socket.accept().await {
            Ok((stream, _)) => return stream,
            // No descriptor is left, most likely. The listeners of sessions tell that.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

impl Admin {
    /// Answers a request that came over the network; a command is refused.
    pub(super) async fn answer_to_network(self: &Arc<Self>, head: &Head) -> Answer {
        let target = Target::parse(head.target());
        let Some(target) = target.filter(|_| matches!(head.method(), b"GET" | b"HEAD")) else {
            return Answer::fault(
                405,
                "commands are taken at the admin socket only; here are GET and HEAD",
            );
        };
        if let Some(why) = self.refusal(head, &target) {
            return Answer::fault(403, why);
        }
        let text = |media_type, text: &str| Answer {
            status: 200,
            body: Body::Text(media_type, text.to_owned()),
        };
        match &*target.path {
            "/" => text("text/html; charset=utf-8", PAGE),
            "/dashboard.js" => text("text/javascript; charset=utf-8", SCRIPT),
            "/health" => text(PLAIN, "alive\n"),
            "/ready" => {
                let readiness = self.shared.readiness.now();
                Answer {
                    status: if readiness.is_ready() { 200 } else { 503 },
                    body: Body::Text(PLAIN, format!("{}\n", readiness.word())),
                }
            }
            // They have the addresses of peers.
            "/sessions" => Answer::fault(403, "sessions are listed at the admin socket only"),
            _ => match AdminRequest::parse(b"GET", head.target()) {
                Ok(request) => self.answer(request).await,
                Err(fault) => Answer::fault(fault.status(), &fault.to_string()),
            },
        }
    }

    /// Why a request may be one that the page of another site makes.
    fn refusal(&self, head: &Head, target: &Target) -> Option<&'static str> {
        let Ok(found) = host::of(head, target) else {
            return Some("the request says no host, or no single one");
        };
        let hosts = match &self.server.config.load().hosts {
            Hosts::Listed(hosts) => Hosts::Listed(hosts.clone()),
            Hosts::Local | Hosts::Any => Hosts::Local,
        };
        if !host::is_served(&hosts, true, &found) {
            return Some(
                "this host is not answered for: ask by an address or `localhost`, or list the name in `hosts`",
            );
        }
        let value = |name: &'static str| head.value(name).ok().flatten();
        let origin = value("origin").and_then(|it| std::str::from_utf8(it).ok());
        let is_own = |origin: &str| {
            origin
                .split_once("://")
                .is_some_and(|(_, host)| host == found)
        };
        let is_foreign = origin.is_some_and(|origin| !is_own(origin));
        // A link to the page may be followed; a browser says then that a document is wanted.
        let is_fetched = value("sec-fetch-dest").is_none_or(|it| it != b"document");
        let site = value("sec-fetch-site");
        let is_of_another =
            site.is_some_and(|it| it != b"same-origin" && it != b"none") && is_fetched;
        (is_foreign || is_of_another).then_some("pages of other sites are not answered")
    }
}

const PAGE: &str = include_str!("dashboard.html");
const SCRIPT: &str = include_str!("dashboard.js");
const PLAIN: &str = "text/plain; charset=utf-8";
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_loopback_is_of_this_machine_in_whichever_form_it_is_written() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("127.8.9.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("::ffff:0.0.0.0", false),
            ("192.0.2.7", false),
        ] {
            let parsed = address.parse().expect("an address");
            assert_eq!(is_of_this_machine(parsed), expected, "{address}");
        }
    }
}
