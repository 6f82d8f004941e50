//! Behind Debian's nginx and haproxy, by the files of config/proxies.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cases::clock::echo_on_all;
use crate::cases::crowds::answer_pings;
use crate::certificates::Authority;
use crate::checks::{Checks, under_attack};
use crate::server::{Server, Setup, free_port};
use crate::swarm::Swarm;
use crate::wire::{Peer, connect_from, opening, read_answer};
use crate::{Lab, Result};

/// Sessions through each proxy: who they are, idle, and over a reload of the proxy.
pub(crate) fn in_front(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let (sessions, idle) = lab.either((50, 10), (5, 3));
    let proxied = free_port()?;
    let config = format!(
        "listen = [\"127.0.0.1:0\", \"proxy:127.0.0.1:{proxied}\"]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         hosts = [\"example.com\", \"localhost\"]\n[limits]\nping_interval_ms = 500\n"
    );
    let certificate = Authority::new("the CA of a proxy").server(&["example.com"]);
    let both = certificate.certificate.clone() + &certificate.key;
    let setup = Setup {
        plugins: &["echo_wsh", "features_wsh"],
        config: &config,
        files: &[
            ("server.pem", &certificate.certificate),
            ("server.key", &certificate.key),
            ("both.pem", &both),
        ],
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    under_attack(&server, checks, |checks| {
        let nginx = nginx(&server)?;
        let haproxy = haproxy(&server, proxied)?;
        let fronts = [
            ("nginx", &nginx, nginx.ports[0]),
            ("haproxy", &haproxy, haproxy.ports[0]),
            ("haproxy by PROXY v2", &haproxy, haproxy.ports[1]),
        ];
        let mut swarms = Vec::new();
        for (what, _, port) in fronts {
            let known = (0..sessions)
                .map(|number| is_known(port, number))
                .collect::<Result<Vec<bool>>>()?;
            let known = known.into_iter().filter(|it| *it).count();
            checks.holds(
                format!(
                    "{what}: the real address of {known} of {sessions}, most with forged lines"
                ),
                known == sessions,
            );
            let mut swarm = Swarm::new()?;
            for number in 0..sessions {
                swarm.add(
                    open(port, number, "/echo", "")
                        .and_then(Peer::opened)?
                        .stream,
                )?;
            }
            swarms.push(swarm);
        }
        // Each in turn, and all idle at once.
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(idle) {
            for swarm in &mut swarms {
                answer_pings(swarm, Duration::from_millis(50))?;
            }
        }
        let mut after_idle = Vec::new();
        for swarm in &mut swarms {
            after_idle.push(echo_on_all(swarm)?);
        }
        nginx.signal(Signal::SIGHUP)?;
        haproxy.signal(Signal::SIGUSR2)?;
        std::thread::sleep(Duration::from_secs(1));
        for (((what, _, port), swarm), after_idle) in fronts.iter().zip(&mut swarms).zip(after_idle)
        {
            let after_reload = echo_on_all(swarm)?;
            let mut new = open(*port, 0, "/echo", "").and_then(Peer::opened)?;
            let is_new = new.ask(b"new")? == b"new";
            checks.holds(
                format!(
                    "{what}: {after_idle} of {sessions} echo after {idle} s with Pings only, {after_reload} over a reload"
                ),
                after_idle == sessions && after_reload == sessions && is_new,
            );
        }
        let down = haproxy.said().matches("is DOWN").count();
        checks.holds(
            format!("haproxy found the server down {down} times"),
            down == 0,
        );
        drop(swarms);
        Ok(())
    })?;
    let log = server.log();
    let by_themselves = log
        .lines()
        .filter(|it| it.contains("peer=127.0.3."))
        .count();
    checks.holds(
        format!("{by_themselves} lines of the log name the clients"),
        by_themselves >= 3 * sessions,
    );
    Ok(())
}

/// Asks the handler who it sees in the client of this number.
fn is_known(port: u16, number: usize) -> Result<bool> {
    let forged = FORGED[number % FORGED.len()];
    let mut stream = open(port, number, "/features?handshake=client", forged)?;
    let answer = read_answer(&mut stream)?.to_lowercase();
    Ok(answer.contains(&format!("x-client: {}:", address(number))))
}

/// Sends a handshake from an address of the client's own.
fn open(port: u16, number: usize, path: &str, more: &str) -> Result<TcpStream> {
    let request = opening(path, more).replace("Host: localhost", "Host: example.com");
    let mut stream = connect_from(address(number), port)?;
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 3, 1 + (number % 200) as u8)
}

/// A proxy that runs.
struct Proxy {
    child: Child,
    ports: [u16; 2],
    log: PathBuf,
}

impl Proxy {
    /// Starts a proxy that will listen on these ports.
    fn start(server: &Server, mut command: Command, name: &str, ports: [u16; 2]) -> Result<Proxy> {
        let log = server.path(&format!("{name}.log"));
        let output = File::create(&log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let child = command.spawn().map_err(|error| {
            format!("cannot start `{name}`: {error}; `apt-get install {name}` brings it")
        })?;
        let proxy = Proxy { child, ports, log };
        let deadline = Instant::now() + Duration::from_secs(20);
        while ports
            .iter()
            .any(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_err())
        {
            if Instant::now() > deadline {
                return Err(format!("`{name}` does not listen: {}", proxy.said()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(proxy)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id() as i32), signal)?)
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The first process ends its workers on SIGTERM, but not on SIGKILL.
        let _ = self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn nginx(server: &Server) -> Result<Proxy> {
    let ports = [free_port()?, free_port()?];
    let root = server.path("").display().to_string();
    let site = config(
        server,
        "nginx.conf",
        &[
            ("listen 80;", format!("listen 127.0.0.1:{};", ports[0])),
            (
                "listen 443 ssl;",
                format!("listen 127.0.0.1:{} ssl;", ports[1]),
            ),
        ],
    )?;
    fs::write(server.path("nginx-site.conf"), site)?;
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths = paths.map(|name| format!("{name}_temp_path {root}/{name};\n"));
    let main = format!(
        "daemon off; pid {root}/nginx.pid; error_log stderr; worker_processes 1; user root;\nevents {{}}\n\
         http {{ access_log off; {} include {root}/nginx-site.conf; }}\n",
        paths.concat()
    );
    fs::write(server.path("nginx-main.conf"), main)?;
    let mut command = Command::new("nginx");
    command
        .args(["-e", "stderr", "-p", &root, "-c"])
        .arg(server.path("nginx-main.conf"));
    Proxy::start(server, command, "nginx", ports)
}

/// One haproxy, as a proxy of HTTP on its first port and of bytes on its second.
fn haproxy(server: &Server, proxied: u16) -> Result<Proxy> {
    let ports = [free_port()?, free_port()?];
    let both = server.path("both.pem").display().to_string();
    let bind = |port: u16| format!("bind 127.0.0.1:{port}");
    let text = config(
        server,
        "haproxy.cfg",
        &[
            ("bind :8443", bind(free_port()?)),
            ("bind :8080", bind(ports[1])),
            ("bind :443", bind(free_port()?)),
            ("bind :80", bind(ports[0])),
            ("/etc/ssl/example.com.both.pem", both),
            ("127.0.0.1:9997", format!("127.0.0.1:{proxied}")),
        ],
    )?;
    fs::write(server.path("haproxy.cfg"), text)?;
    let mut command = Command::new("haproxy");
    command
        .args(["-W", "-db", "-f"])
        .arg(server.path("haproxy.cfg"));
    Proxy::start(server, command, "haproxy", ports)
}

/// A file of config/proxies with other ports, and with waits of 2 s instead of 90.
fn config(server: &Server, file: &str, words: &[(&str, String)]) -> Result<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/proxies");
    let mut text = fs::read_to_string(directory.join(file))?;
    let path = |name: &str| server.path(name).display().to_string();
    let own = [
        ("127.0.0.1:9998", format!("127.0.0.1:{}", server.port)),
        ("90s", "2s".to_owned()),
    ];
    for (from, to) in own.iter().chain(words) {
        if !text.contains(from) {
            return Err(format!("{file} has no `{from}`").into());
        }
        text = text.replace(from, to);
    }
    text = text.replace("/etc/ssl/example.com.pem", &path("server.pem"));
    Ok(text.replace("/etc/ssl/example.com.key", &path("server.key")))
}

/// What clients say of their address.
const FORGED: [&str; 4] = [
    "",
    "X-Forwarded-For: 192.0.2.1\r\n",
    "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 127.0.0.1, 10.0.0.1\r\nX-Real-IP: 192.0.2.1\r\n",
    "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: nonsense,\r\n",
];
