//! A running `wshd` and its log.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::client::Client;
use super::site::Site;
use super::{eventually, patience, within};

/// A server of a site. Its process is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// The thread that reads the log to its end.
    reader: Option<JoinHandle<()>>,
    port: u16,
    /// Whether processes that take its place are killed with it.
    leads_group: bool,
}

/// A command line for a server.
pub(crate) struct Builder {
    command: Command,
    leads_group: bool,
}

impl Builder {
    pub(crate) fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Builder {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args(
        mut self,
        args: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>,
    ) -> Builder {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Builder {
        self.command.env(name, value);
        self
    }

    /// Has processes that take the server's place killed with it.
    pub(crate) fn leading_group(mut self) -> Builder {
        self.command.process_group(0);
        self.leads_group = true;
        self
    }

    /// Gives the server a pipe as stdin, of which the test keeps the other end.
    pub(crate) fn with_stdin(mut self) -> Builder {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Starts the server by way of another command, which becomes the server by `exec`.
    pub(crate) fn within(mut self, mut outer: Command) -> Builder {
        outer
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(directory) = self.command.get_current_dir() {
            outer.current_dir(directory);
        }
        self.command = outer;
        self
    }

    /// Passes these sockets to the server as systemd does: with their names, between colons. One or two are passed.
    pub(crate) fn activated(self, sockets: Vec<OwnedFd>, names: &str) -> Builder {
        let script = format!(
            "export LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES={names}; \
             exec \"$@\" 3<&0 4<&1 </dev/null >/dev/null",
            sockets.len()
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, "sh"]);
        let mut builder = self.within(shell);
        let mut sockets = sockets.into_iter();
        if let Some(first) = sockets.next() {
            builder.command.stdin(first);
        }
        if let Some(second) = sockets.next() {
            builder.command.stdout(second);
        }
        builder
    }

    /// Runs the program to its end.
    pub(crate) fn output(mut self) -> std::process::Output {
        self.command.output().expect("wshd runs")
    }

    /// Starts the server and waits until it listens.
    pub(crate) fn start(self) -> Server {
        self.spawn().listening()
    }

    /// Starts the server and waits for nothing.
    pub(crate) fn spawn(mut self) -> Server {
        let child = self.command.spawn().expect("wshd starts");
        let mut server = Server {
            child,
            log: Arc::default(),
            reader: None,
            port: 0,
            leads_group: self.leads_group,
        };
        let log = server.child.stderr.take().expect("its stderr is piped");
        server.read_on(BufReader::new(log));
        server
    }

    /// Starts the server and reads its log until it listens, and no further.
    pub(crate) fn start_unread(mut self) -> (Server, BufReader<ChildStderr>) {
        let mut child = self.command.spawn().expect("wshd starts");
        let mut log = BufReader::new(child.stderr.take().expect("its stderr is piped"));
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert_ne!(log.read_line(&mut line).expect("its log"), 0, "it listens");
        }
        let server = Server {
            child,
            log: Arc::default(),
            reader: None,
            port: port_in(&line),
            leads_group: self.leads_group,
        };
        (server, log)
    }
}

/// Returns the port of the address in a log line; 0 for a Unix socket.
fn port_in(line: &str) -> u16 {
    let of_json = serde_json::from_str::<serde_json::Value>(line).ok();
    let of_json =
        of_json.and_then(|line| line["address"].as_str().map(|it| format!("address={it}")));
    let address = of_json
        .as_deref()
        .unwrap_or(line)
        .split("address=")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    let address = address.expect("an address");
    let address = address.strip_prefix("proxy:").unwrap_or(address);
    if address.starts_with("unix:") {
        return 0;
    }
    let address = address.strip_prefix("tls:").unwrap_or(address);
    let address: SocketAddr = address.parse().expect("an address");
    address.port()
}

impl Server {
    /// Waits until the server listens.
    pub(crate) fn listening(mut self) -> Server {
        // It loads every handler before it listens.
        let line = self.line_within(Duration::from_secs(30), &["listening"]);
        self.port = port_in(&line);
        self
    }

    /// Starts a server of this site's handlers on a free port, at log level debug.
    pub(crate) fn start(site: &Site) -> Server {
        Server::builder(site).start()
    }

    pub(crate) fn builder(site: &Site) -> Builder {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wshd"));
        for name in std::env::vars()
            .map(|(name, _)| name)
            .filter(|name| name.starts_with("WSHD_"))
        {
            command.env_remove(name);
        }
        command
            .current_dir(site.root())
            // Its admin socket goes with the site.
            .env("XDG_RUNTIME_DIR", site.root())
            .args(["-p", "0", "-w"])
            .arg(site.handlers())
            .args(["--log-level", "debug"])
            // Without a terminal they are JSON.
            .args(["--access-log-format", "text"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Builder {
            command,
            leads_group: false,
        }
    }

    /// A command line without any argument.
    pub(crate) fn bare(site: &Site) -> Builder {
        Server::of_program(site, Path::new(env!("CARGO_BIN_EXE_wshd")))
    }

    /// A command line of the program at `path`, without any argument.
    pub(crate) fn of_program(site: &Site, path: &Path) -> Builder {
        let mut command = Command::new(path);
        command.current_dir(site.root()).stdin(Stdio::null());
        // It is killed, and what it leaves behind goes with the site.
        command.env("TMPDIR", site.root());
        command.env("XDG_RUNTIME_DIR", site.root());
        command.env("WSHD_ACCESS_LOG_FORMAT", "text");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Builder {
            command,
            leads_group: false,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Opens a WebSocket at `path`.
    #[track_caller]
    pub(crate) fn connect(&self, path: &str) -> Client {
        Client::connect(self.port, path, &[])
    }

    /// Returns the status of an opening handshake at `path`, 101 included.
    #[track_caller]
    pub(crate) fn handshake_status(&self, path: &str) -> u16 {
        status_of(&self.exchange(opening(path, "").as_bytes()))
    }

    /// Sends bytes and returns what comes back: until the server closes, or to the end of the head of a 101.
    #[track_caller]
    pub(crate) fn exchange(&self, request: &[u8]) -> String {
        Server::exchange_over(self.raw(), request)
    }

    /// Sends bytes over this connection and returns what comes back, as [`exchange`](Self::exchange) does.
    #[track_caller]
    pub(crate) fn exchange_over(mut stream: TcpStream, request: &[u8]) -> String {
        stream.write_all(request).expect("sending a request");
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(length) => answer.extend_from_slice(&buffer[..length]),
            }
            if answer.starts_with(b"HTTP/1.1 101") && answer.windows(4).any(|w| w == b"\r\n\r\n") {
                break;
            }
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Opens a TCP connection and sends nothing.
    #[track_caller]
    pub(crate) fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20) * patience()))
            .expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        stream
    }

    /// Connects to the Unix socket at `path`. Its bytes are read and written as those of TCP are.
    #[track_caller]
    pub(crate) fn raw_unix(path: &Path) -> TcpStream {
        let stream = UnixStream::connect(path).expect("the server listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20) * patience()))
            .expect("a timeout");
        OwnedFd::from(stream).into()
    }

    /// Returns how many sessions and handshakes a handler has, by the list of handlers.
    #[track_caller]
    pub(crate) fn sessions(&self, handler: &str) -> u64 {
        let listed = self.listing();
        let handlers = listed.as_array().expect("a list");
        let found = handlers.iter().find(|it| it["name"] == handler);
        found.map_or(0, |it| it["sessions"].as_u64().expect("a number"))
    }

    /// Fetches the list of handlers.
    #[track_caller]
    pub(crate) fn listing(&self) -> serde_json::Value {
        self.document("/.wshd/handlers.json")
    }

    /// Fetches a document of the server's own.
    #[track_caller]
    pub(crate) fn document(&self, path: &str) -> serde_json::Value {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = self.exchange(request.as_bytes());
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        serde_json::from_str(body).expect("JSON")
    }

    /// Waits for a log line that contains all of `parts`.
    #[track_caller]
    pub(crate) fn line(&self, parts: &[&str]) -> String {
        let mut found = None;
        eventually(
            &format!("a log line with {parts:?} in\n{}", self.log()),
            || {
                found = self.find_line(parts);
                found.is_some()
            },
        );
        found.expect("it was found")
    }

    /// Waits for a log line that contains all of `parts`, at most `limit`.
    #[track_caller]
    pub(crate) fn line_within(&self, limit: Duration, parts: &[&str]) -> String {
        let mut found = None;
        within(limit, &format!("a log line with {parts:?}"), || {
            found = self.find_line(parts);
            found.is_some()
        });
        found.expect("it was found")
    }

    pub(crate) fn find_line(&self, parts: &[&str]) -> Option<String> {
        let log = self.log.lock().expect("no thread panics with it");
        log.iter().find(|line| says(line, parts)).cloned()
    }

    /// Returns the log lines that contain all of `parts`.
    pub(crate) fn lines(&self, parts: &[&str]) -> Vec<String> {
        let log = self.log.lock().expect("no thread panics with it");
        let found = log.iter().filter(|line| says(line, parts));
        found.cloned().collect()
    }

    /// Counts the log lines that contain all of `parts`.
    pub(crate) fn count_lines(&self, parts: &[&str]) -> usize {
        let log = self.log.lock().expect("no thread panics with it");
        log.iter().filter(|line| says(line, parts)).count()
    }

    /// Returns the whole log so far.
    pub(crate) fn log(&self) -> String {
        self.log
            .lock()
            .expect("no thread panics with it")
            .join("\n")
    }

    /// Starts a thread that reads the log to its end.
    pub(crate) fn read_on(&mut self, log: BufReader<ChildStderr>) {
        let lines = self.log.clone();
        self.reader = Some(std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                lines.lock().expect("no thread panics with it").push(line);
            }
        }));
    }

    /// Closes the test's end of the server's stdin.
    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take().expect("its stdin is piped"));
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits until `times` log lines contain all of `parts`, and asserts that no more do.
    #[track_caller]
    pub(crate) fn says(&self, parts: &[&str], times: usize) {
        eventually(
            &format!("{times} log lines with {parts:?} in\n{}", self.log()),
            || self.count_lines(parts) >= times,
        );
        assert_eq!(self.count_lines(parts), times, "{parts:?}\n{}", self.log());
    }

    /// Waits for the end of the process. Another one may go on with its log.
    #[track_caller]
    pub(crate) fn wait_for_process(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        within(limit, "the server ends", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        status.expect("it ended")
    }

    /// Waits for the end of the process and of its log.
    #[track_caller]
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        within(limit, "the server ends", || {
            status = self.child.try_wait().expect("it is our child");
            let is_read = self.reader.as_ref().is_none_or(JoinHandle::is_finished);
            status.is_some() && is_read
        });
        status.expect("it ended")
    }

    /// Returns the processor time of the server so far, in hundredths of a second.
    pub(crate) fn processor_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        let stat = stat.expect("the server runs");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = fields[11..13].iter().map(|field| field.parse::<u64>());
        ticks.map(|ticks| ticks.expect("a number")).sum()
    }

    /// Resets the peak of the server's resident set. Returns its size now in KiB.
    pub(crate) fn reset_peak(&self) -> u64 {
        let path = format!("/proc/{}/clear_refs", self.pid());
        std::fs::write(path, "5").expect("the peak is reset");
        self.proc_status("VmRSS")
    }

    /// Returns a number of `/proc/PID/status`, such as `Threads` or `VmRSS`.
    pub(crate) fn proc_status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the server runs");
        let line = status
            .lines()
            .find(|line| line.starts_with(&format!("{name}:")));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number
            .and_then(|number| number.parse().ok())
            .expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        if self.leads_group {
            let group = rustix::process::Pid::from_child(&self.child);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's log\n{}\n---", self.log());
        }
    }
}

/// Whether a line contains all of `parts`, as it stands or with its quoted values unescaped.
fn says(line: &str, parts: &[&str]) -> bool {
    let mut parts = parts
        .iter()
        .filter(|part| !line.contains(**part))
        .peekable();
    if parts.peek().is_none() {
        return true;
    }
    let mut read = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        read.push(match character {
            '\\' if matches!(characters.as_str().chars().next(), Some('"' | '\\')) => {
                characters.next().unwrap_or(character)
            }
            other => other,
        });
    }
    parts.all(|part| read.contains(*part))
}

/// A correct opening handshake. `extra` is more header lines, each with its CRLF.
pub(crate) fn opening(path: &str, extra: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    )
}

/// Returns the status of an HTTP response, 0 if there is none.
pub(crate) fn status_of(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0)
}
