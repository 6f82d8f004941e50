//! Real proxies in front of the server, by the files of config/proxies: nginx, haproxy and Apache httpd.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::client::{Client, Steady};
use crate::harness::eventually;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::tls::Tls;

/// A server for proxies on 127.0.0.1, with Pings that come before a proxy's timeout of a second.
struct World {
    site: Site,
    tls: Tls,
    server: Server,
    /// The port for the PROXY protocol.
    proxied: u16,
}

/// A proxy that runs.
struct Proxy {
    child: Child,
    plain: u16,
    secure: u16,
    log: PathBuf,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // haproxy's master and the first process of the others end their workers on SIGTERM, but not on SIGKILL.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("TERM");
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl World {
    fn new() -> World {
        let site = Site::with(&["echo_wsh", "features_wsh"]);
        let tls = Tls::new(&site);
        let proxied = free_ports(1)[0];
        site.write(
            "config.toml",
            &format!(
                "listen = [\"127.0.0.1:0\", \"proxy:127.0.0.1:{proxied}\"]\nhandlers_dir = \"handlers\"\n\
                 trusted_proxies = [\"127.0.0.1\"]\nhosts = [\"example.com\"]\nlog_level = \"debug\"\n\
                 [limits]\nping_interval_ms = 300\n"
            ),
        );
        let server = Server::bare(&site).start();
        World {
            site,
            tls,
            server,
            proxied,
        }
    }

    /// A file of config/proxies with these words in place of others, each of which it has.
    fn config(&self, file: &str, words: &[(&str, String)]) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../config/proxies")
            .join(file);
        let mut text = fs::read_to_string(path).expect("a file of the repository");
        let root = self.site.root().display();
        let own = [
            (
                "127.0.0.1:9998",
                format!("127.0.0.1:{}", self.server.port()),
            ),
            ("/etc/ssl/example.com.pem", format!("{root}/server.pem")),
            ("/etc/ssl/example.com.key", format!("{root}/server.key")),
        ];
        for (from, to) in own.iter() {
            text = text.replace(from, to);
        }
        for (from, to) in words {
            assert!(text.contains(from), "{file} has `{from}`");
            text = text.replace(from, to);
        }
        text
    }

    /// Starts a proxy by this command, whose ports are replaced in what `prepare` writes.
    fn start(&self, prepare: impl Fn(&[u16]) -> Command) -> Proxy {
        let log = self.site.root().join("proxy.log");
        // A port that was free a moment ago may be taken by then.
        for _ in 0..5 {
            let ports = free_ports(2);
            let mut command = prepare(&ports);
            let output = fs::File::create(&log).expect("a log");
            command
                .stdin(Stdio::null())
                .stdout(output.try_clone().expect("a log"))
                .stderr(output);
            let mut proxy = Proxy {
                child: command.spawn().expect("the proxy starts"),
                plain: ports[0],
                secure: ports[1],
                log: log.clone(),
            };
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(20) {
                if ports
                    .iter()
                    .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
                {
                    return proxy;
                }
                if matches!(proxy.child.try_wait(), Ok(Some(_))) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("{}", fs::read_to_string(log).unwrap_or_default());
    }

    /// Opens a session through the proxy, from 127.0.0.9, with more header lines.
    #[track_caller]
    fn connect(&self, proxy: &Proxy, is_tls: bool, path: &str, lines: &[(&str, &str)]) -> Client {
        let (port, scheme) = match is_tls {
            true => (proxy.secure, "wss"),
            false => (proxy.plain, "ws"),
        };
        let socket = from(9, port);
        let stream = match is_tls {
            true => Steady::over_tls(self.tls.client().over(socket).expect("a handshake")),
            false => Steady::plain(socket),
        };
        Client::over(
            stream,
            &format!("{scheme}://example.com{path}"),
            path,
            lines,
        )
    }

    /// What a handler is told of a client at 127.0.0.9 that sends these lines.
    fn told(&self, proxy: &Proxy, lines: &str) -> String {
        let request = opening("/features?handshake=client", lines)
            .replace("Host: localhost", "Host: example.com");
        let answer = Server::exchange_over(from(9, proxy.plain), request.as_bytes());
        assert_eq!(status_of(&answer), 101, "{answer} {}", proxy.said());
        let line = answer.lines().find_map(|line| {
            line.to_lowercase()
                .strip_prefix("x-client: ")
                .map(str::to_owned)
        });
        line.expect("the handler's header")
    }

    /// What holds behind each proxy.
    fn check(&self, proxy: &Proxy, reload: impl Fn(&Proxy)) {
        let mut sessions = [false, true].map(|is_tls| self.connect(proxy, is_tls, "/echo", &[]));
        for session in &mut sessions {
            assert_eq!(session.ask("hello"), "hello");
        }
        // The client is the peer, whatever it says itself.
        for lines in [
            "",
            "X-Forwarded-For: 192.0.2.1\r\n",
            "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 127.0.0.1, 10.0.0.1\r\nX-Real-IP: 192.0.2.1\r\n",
            "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: nonsense,\r\n",
        ] {
            let client = self.told(proxy, lines);
            assert!(client.starts_with("127.0.0.9:"), "{lines}: {client}");
        }
        // A page of the same host may connect.
        let mut own = self.connect(
            proxy,
            true,
            "/features",
            &[("Origin", "https://example.com")],
        );
        assert_eq!(own.close(1000), 1000);

        // Idle for longer than the proxy's timeout, with nothing but Pings.
        let began = Instant::now();
        let mut idle = sessions;
        while began.elapsed() < Duration::from_secs(3) {
            for session in &mut idle {
                // Reading answers Pings.
                set_timeout(session, Duration::from_millis(100));
                let _ = session.try_read();
            }
        }
        for session in &mut idle {
            set_timeout(session, Duration::from_secs(20));
            assert_eq!(
                session.ask("still there"),
                "still there",
                "{}",
                proxy.said()
            );
        }

        reload(proxy);
        eventually("new sessions come", || {
            TcpStream::connect(("127.0.0.1", proxy.plain)).is_ok()
        });
        let mut next = self.connect(proxy, true, "/echo", &[]);
        assert_eq!(next.ask("new"), "new");
        for session in &mut idle {
            assert_eq!(
                session.ask("over a reload"),
                "over a reload",
                "{}",
                proxy.said()
            );
        }
        drop((idle, next));
        self.server
            .line(&["session closed", "peer=127.0.0.9:", "/echo"]);
        assert_eq!(
            self.server
                .count_lines(&["session closed", "peer=127.0.0.1:"]),
            0
        );
    }
}

#[test]
fn behind_nginx_each_client_is_itself_and_sessions_outlive_timeouts_and_reloads() {
    let nginx = program("nginx", "nginx");
    let world = World::new();
    let root = world.site.root().to_owned();
    let proxy = world.start(|ports| {
        let site = world.config(
            "nginx.conf",
            &[
                ("listen 80;", format!("listen 127.0.0.1:{};", ports[0])),
                ("listen 443 ssl;", format!("listen 127.0.0.1:{} ssl;", ports[1])),
                ("90s", "1s".to_owned()),
            ],
        );
        world.site.write("nginx-site.conf", &site);
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let paths = paths.map(|name| format!("{name}_temp_path {}/{name};\n", root.display()));
        let main = format!(
            "daemon off; pid {root}/nginx.pid; error_log stderr; worker_processes 1; user root;\nevents {{}}\n\
             http {{ access_log off; {paths} include {root}/nginx-site.conf; }}\n",
            root = root.display(),
            paths = paths.concat(),
        );
        let main = world.site.write("nginx-main.conf", &main);
        let mut command = Command::new(&nginx);
        command.arg("-p").arg(&root).arg("-e").arg("stderr").arg("-c").arg(main);
        command
    });
    world.check(&proxy, |proxy| proxy.signal("HUP"));
}

#[test]
fn behind_haproxy_each_client_is_itself_by_http_and_by_the_proxy_protocol() {
    let haproxy = program("haproxy", "haproxy");
    let world = World::new();
    let both = ["server.pem", "server.key"].map(|file| {
        fs::read_to_string(world.site.root().join(file)).expect("the server's certificate")
    });
    let both = world.site.write("both.pem", &both.concat());
    let start = |frontend: usize| {
        world.start(|ports| {
            // The frontend of bytes and that of HTTP have the same two ports here, one after the other.
            let spare = free_ports(2);
            let of = |index: usize, at: usize| match index == frontend {
                true => ports[at],
                false => spare[at],
            };
            let bind = |port: u16| format!("bind 127.0.0.1:{port}");
            let text = world.config(
                "haproxy.cfg",
                &[
                    ("bind :8443", bind(of(1, 1))),
                    ("bind :8080", bind(of(1, 0))),
                    ("bind :443", bind(of(0, 1))),
                    ("bind :80", bind(of(0, 0))),
                    ("/etc/ssl/example.com.both.pem", both.display().to_string()),
                    ("127.0.0.1:9997", format!("127.0.0.1:{}", world.proxied)),
                    ("90s", "1s".to_owned()),
                ],
            );
            let file = world.site.write("haproxy.cfg", &text);
            let mut command = Command::new(&haproxy);
            command.args(["-W", "-db", "-f"]).arg(file);
            command
        })
    };

    let by_http = start(0);
    world.check(&by_http, |proxy| proxy.signal("USR2"));
    // `option httpchk` finds the server ready.
    assert_eq!(by_http.count("is DOWN"), 0);
    drop(by_http);
    let by_bytes = start(1);
    world.check(&by_bytes, |proxy| proxy.signal("USR2"));
}

#[test]
fn behind_apache_each_client_is_itself_and_sessions_outlive_timeouts_and_reloads() {
    let apache = program("apache2", "apache2");
    let world = World::new();
    let root = world.site.root().to_owned();
    let proxy = world.start(|ports| {
        let site = world.config(
            "apache.conf",
            &[
                ("*:80", format!("127.0.0.1:{}", ports[0])),
                ("*:443", format!("127.0.0.1:{}", ports[1])),
                ("timeout=90", "timeout=1".to_owned()),
            ],
        );
        let site = world.site.write("apache-site.conf", &site);
        let modules = ["mpm_event", "authz_core", "proxy", "proxy_http", "proxy_wstunnel", "headers", "ssl", "socache_shmcb"];
        let modules = modules.map(|name| {
            format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
        });
        let main = format!(
            "ServerRoot {root}\nDefaultRuntimeDir {root}\nPidFile {root}/apache.pid\nErrorLog /dev/stderr\n\
             ServerName example.com\nUser www-data\nGroup www-data\n{modules}\
             Listen 127.0.0.1:{plain}\nListen 127.0.0.1:{secure}\nInclude {site}\n",
            root = root.display(),
            modules = modules.concat(),
            plain = ports[0],
            secure = ports[1],
            site = site.display(),
        );
        let main = world.site.write("apache-main.conf", &main);
        let mut command = Command::new(&apache);
        command.args(["-DFOREGROUND", "-f"]).arg(main);
        command
    });
    world.check(&proxy, |proxy| proxy.signal("USR1"));
}

impl Proxy {
    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(status.expect("kill").success());
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn count(&self, words: &str) -> usize {
        self.said().matches(words).count()
    }
}

fn set_timeout(client: &mut Client, timeout: Duration) {
    let set = client.stream().set_read_timeout(Some(timeout));
    set.expect("a timeout");
}

/// The program of this name, from Debian's package.
fn program(name: &str, package: &str) -> PathBuf {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let mut found = places.iter().map(|place| Path::new(place).join(name));
    let found = found.find(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!("`{name}` is not installed, and this test needs it: `apt-get install {package}`")
    })
}

/// Ports of 127.0.0.1 that are free now.
fn free_ports(count: usize) -> Vec<u16> {
    let bound = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let bound: Vec<_> = bound.collect();
    let ports = bound
        .iter()
        .map(|it| it.local_addr().expect("its address").port());
    ports.collect()
}

/// A connection from 127.0.0.`last`.
#[track_caller]
fn from(last: u8, port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from: SocketAddr = (Ipv4Addr::new(127, 0, 0, last), 0).into();
    socket.bind(&from.into()).expect("an address of loopback");
    let to: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
    socket.connect(&to.into()).expect("the proxy listens");
    let stream: TcpStream = socket.into();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    stream
}
