//! A real server for one test: a `wshd` with the crate's handler.

mod build;
mod client;
mod find;

use std::{
    borrow::Borrow,
    env, fmt, fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

pub use self::client::WshdClient;
use crate::{abi::Descriptor, test::handshake::Refusal};

/// A real server with one handler, on a free port of this machine: see [`wshd()`](crate::test::wshd()).
///
/// It ends when this is dropped, and at the latest when the test's process does.
///
/// ```no_run,standalone_crate
/// # use wsh::prelude::*;
/// # async fn echo(conn: &mut AsyncConn) -> Result {
/// #     while let Some(message) = conn.recv().await {
/// #         conn.send(message).await?;
/// #     }
/// #     Ok(())
/// # }
/// # wsh::handler!(async echo, restarts);
/// # fn main() {
/// let server = wsh::test::wshd(&WSH_HANDLER);
/// assert_eq!(server.url(), format!("ws://{}/echo", server.address()));
/// let mut client = server.connect();
/// client.send("hello");
/// assert_eq!(client.receive().unwrap(), "hello");
/// assert!(server.log().iter().any(|line| line.contains("handler answers")));
/// # }
/// ```
pub struct Wshd {
    child: Child,
    log: Log,
    address: SocketAddr,
    url: String,
    /// The server's directory, removed after the server has ended.
    _dir: ServerDir,
}

/// The lines that a server has written so far.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Wshd {
    pub(super) fn start(handler: impl Borrow<Descriptor>, config: &str) -> Result<Wshd, String> {
        let name = build::name_of(handler.borrow());
        let program = find::wshd()?;
        let library = build::library(&name)?;
        let dir =
            ServerDir::new().map_err(|error| format!("no directory for a server: {error}"))?;
        let config = dir.fill(&name, &library, config);
        let config = config.map_err(|error| format!("no files for a server: {error}"))?;

        let mut command = Command::new(&program);
        for (variable, _) in env::vars_os() {
            if variable.as_encoded_bytes().starts_with(b"WSHD_") {
                command.env_remove(variable);
            }
        }
        command
            .args([
                "--port",
                "0",
                "--server-host",
                "127.0.0.1",
                "--log-level",
                "info",
            ])
            .args(["--stop-with-stdin", "--config"])
            .arg(config)
            .arg("--handlers-dir")
            .arg(dir.handlers())
            .current_dir(&dir.0)
            .env("TMPDIR", &dir.0)
            // It is closed when this process ends, in whatever way, and the server then ends, too.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot run `{}`: {error}", program.display()))?;
        let stderr = child.stderr.take().expect("it is piped");
        let mut started = Wshd {
            child,
            log: Log::default(),
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            url: String::new(),
            _dir: dir,
        };
        let lines = started.log.follow(stderr);
        started.wait_until_it_serves(&name, &program, &lines)?;
        Ok(started)
    }

    /// Waits for the line with the handler's URL, which follows those with the addresses.
    fn wait_until_it_serves(
        &mut self,
        name: &str,
        program: &Path,
        lines: &mpsc::Receiver<String>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + START_PATIENCE;
        let failed = |what: &str, log: &Log| {
            let said = log.text();
            Err(format!("`{}` {what}; it said:\n{said}", program.display()))
        };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) if line.contains("plugin refused") => {
                    return failed("does not serve the handler", &self.log);
                }
                Ok(line) if line.contains("listening") => {
                    let found = value(&line, "address").and_then(|it| it.parse().ok());
                    self.address = found.unwrap_or(self.address);
                }
                Ok(line) if line.contains("handler answers") => {
                    if let Some(url) = value(&line, "url").filter(|_| self.address.port() != 0) {
                        let path = url.splitn(4, '/').nth(3).unwrap_or(name);
                        self.url = format!("ws://{}/{path}", self.address);
                        return Ok(());
                    }
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    return failed("does not serve in time", &self.log);
                }
                Err(RecvTimeoutError::Disconnected) => return failed("has ended", &self.log),
            }
        }
    }

    /// The URL at which the handler answers, such as `ws://127.0.0.1:41234/hello`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address that the server listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects a client to [`url`](Self::url).
    ///
    /// # Panics
    /// The server refuses the client.
    #[must_use]
    pub fn connect(&self) -> WshdClient {
        match self.try_connect("", &[]) {
            Ok(client) => client,
            Err(refusal) => panic!("{} refuses: {refusal}", self.url),
        }
    }

    /// Like [`connect`](Self::connect), with a string that follows the handler's path, such as `?name=ann`, and with more
    /// header lines.
    ///
    /// ```no_run
    /// # #[derive(Default)] struct Echo;
    /// # impl wsh::Session for Echo {
    /// #     fn on_message(&mut self, _: &mut wsh::Conn, _: wsh::Message) -> wsh::Result { Ok(()) }
    /// # }
    /// let server = wsh::test::wshd(wsh::descriptor!(Echo));
    /// let refusal = server.try_connect("?name=ann", &[("Cookie", "token=wrong")]).unwrap_err();
    /// assert_eq!(refusal.status, 403);
    /// ```
    ///
    /// # Errors
    /// The server's answer, if it is not a 101.
    pub fn try_connect(&self, rest: &str, headers: &[(&str, &str)]) -> Result<WshdClient, Refusal> {
        let path = self.url.splitn(4, '/').nth(3).unwrap_or_default();
        WshdClient::open(self.address, &format!("/{path}{rest}"), headers)
    }

    /// The lines that the server has logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }
}

impl Drop for Wshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() && !self.url.is_empty() {
            eprintln!("--- the log of {}\n{}---", self.url, self.log.text());
        }
    }
}

impl fmt::Debug for Wshd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wshd")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Reads a log to its end, on a thread, and passes its lines on as they come.
    fn follow(&self, log: ChildStderr) -> mpsc::Receiver<String> {
        let (told, lines) = mpsc::channel();
        let kept = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                let all = &kept.0;
                all.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line.clone());
                // The receiver is dropped once the server serves.
                let _ = told.send(line);
            }
        });
        lines
    }

    fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn text(&self) -> String {
        let lines = self.lines();
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// The value of a field in a line of the log.
fn value<'a>(line: &'a str, field: &str) -> Option<&'a str> {
    let (_, value) = line.split_once(&format!("{field}="))?;
    let value = value.split_whitespace().next()?;
    Some(value.trim_matches('"'))
}

/// A directory for one server, which is removed when this is dropped.
struct ServerDir(PathBuf);

impl ServerDir {
    fn new() -> std::io::Result<ServerDir> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let path = env::temp_dir().join(name);
        remove_orphans(&env::temp_dir());
        // A server loads no handler from a directory that others can write to.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(ServerDir(path))
    }

    fn handlers(&self) -> PathBuf {
        self.0.join("handlers")
    }

    /// Puts the handler and the configuration there. Answers the path of the configuration.
    fn fill(&self, name: &str, library: &Path, config: &str) -> std::io::Result<PathBuf> {
        let handlers = self.handlers();
        fs::DirBuilder::new().mode(0o700).create(&handlers)?;
        let handler = handlers.join(format!("{name}_wsh.so"));
        fs::copy(library, &handler)?;
        fs::set_permissions(&handler, fs::Permissions::from_mode(0o700))?;
        let file = self.0.join("config.toml");
        fs::write(&file, config)?;
        Ok(file)
    }
}

impl Drop for ServerDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes directories of processes that have ended without running destructors, like tests with a server in a static.
fn remove_orphans(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let process = process.and_then(|rest| rest.split_once('-'));
        if let Some((process, _)) = process
            && process
                .parse::<u32>()
                .is_ok_and(|it| it != std::process::id())
            && !Path::new("/proc").join(process).exists()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

const PREFIX: &str = "wsh-test-";
/// How long a server may take to start, a trial of the handler included.
const START_PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_test_left_that_is_gone_is_removed_and_nothing_else() {
        let dir = ServerDir::new().unwrap();
        let (own, others) = (dir.0.join("wsh-test-1-0"), ["wsh-test-x-1", "notes"]);
        // No process of Linux has a number that is so large.
        let gone = dir.0.join("wsh-test-4194305-0");
        for directory in [&own, &gone] {
            fs::create_dir_all(directory.join("handlers")).unwrap();
        }
        for other in others {
            fs::create_dir(dir.0.join(other)).unwrap();
        }

        remove_orphans(&dir.0);

        assert!(!gone.exists());
        assert!(own.exists(), "the first process is always there");
        assert!(others.iter().all(|other| dir.0.join(other).exists()));
    }
}
