//! Pages and hosts that only look like the server's own.

use crate::checks::{Checks, under_attack};
use crate::server::{Server, Setup};
use crate::wire::{exchange, opening, status_of};
use crate::{Lab, Result};

/// Asks as pages of other origins would, and for other hosts.
pub(crate) fn origins_and_hosts(lab: &Lab, checks: &mut Checks) -> Result<()> {
    // The handler `echo` judges origins itself, unless its table says which there are.
    let setup = Setup {
        config: "hosts = [\"chat.example.com\"]\n[handler.echo]\norigins = \"same-host\"\n",
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    under_attack(&server, checks, |checks| {
        let ask = |host: &str, origin: &str| -> Result<u16> {
            let request = opening("/echo", &format!("Origin: {origin}\r\n"));
            let request = request.replace("Host: localhost", &format!("Host: {host}"));
            Ok(status_of(&exchange(server.port, request.as_bytes())?))
        };
        let own = ask("chat.example.com", "http://chat.example.com")?;
        let mut let_in = Vec::new();
        for origin in ORIGINS {
            let status = ask("chat.example.com", origin)?;
            if status != 403 {
                let_in.push(format!("`{origin}`: {status}"));
            }
        }
        let mut answered = Vec::new();
        for host in HOSTS {
            let status = ask(host, &format!("http://{host}"))?;
            if status != 421 && status != 400 {
                answered.push(format!("`{host}`: {status}"));
            }
        }
        checks.holds(format!("the own host: {own}"), own == 101);
        let (origins, hosts) = (ORIGINS.len(), HOSTS.len());
        let list = |list: Vec<String>| list.join(", ");
        checks.holds(
            format!(
                "{} of {origins} origins refused {}",
                origins - let_in.len(),
                list(let_in.clone())
            ),
            let_in.is_empty(),
        );
        checks.holds(
            format!(
                "{} of {hosts} hosts refused {}",
                hosts - answered.len(),
                list(answered.clone())
            ),
            answered.is_empty(),
        );
        Ok(())
    })
}

const ORIGINS: [&str; 40] = [
    "http://evil.example",
    "https://evil.example",
    "http://chat.example.com.evil.example",
    "http://chat.example.como",
    "http://chat.example.co",
    "http://example.com",
    "http://evilchat.example.com",
    "http://evil-chat.example.com",
    "http://a.chat.example.com",
    "http://chat-example.com",
    "http://.chat.example.com",
    "http://chat.example.com:8080",
    "http://chat.example.com:1",
    "http://chat.example.com:65535",
    "https://chat.example.com:80",
    "http://chat.example.com@evil.example",
    "http://evil.example@chat.example.com",
    "http://user:pass@chat.example.com",
    "http://chat.example.com/",
    "http://chat.example.com/path",
    "http://chat.example.com?x",
    "http://chat.example.com#x",
    "http://evil.example/chat.example.com",
    "http://evil.example?chat.example.com",
    "http://evil.example#chat.example.com",
    "http://evil.example\\chat.example.com",
    "http://chat.example.com%00.evil.example",
    "http://chat.example.com%2eevil.example",
    "http://xn--cht-5cd.example.com",
    "http://ch\u{430}t.example.com",
    "null",
    "",
    "*",
    "file://",
    "chat.example.com",
    "//chat.example.com",
    "ftp://chat.example.com",
    "javascript://chat.example.com",
    "http://chat.example.com http://evil.example",
    "http://chat.example.com, http://evil.example",
];
const HOSTS: [&str; 10] = [
    "evil.example",
    "chat.example.com.evil.example",
    "evilchat.example.com",
    "example.com",
    "chat.example.com@evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "2130706433.example",
    "chat.example.co",
    "evil.example:80",
];
