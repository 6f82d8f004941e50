//! The server under attack, as a process of its own, and what the system says of it.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::Result;
use crate::artifacts::Artifacts;
use crate::wire::{exchange, opening, status_of};

/// A `wshd` that listens, with a site of its own. Its process is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// The process that serves: the child, or the last one that has taken its place.
    serving: AtomicU32,
    pub(crate) port: u16,
    site: TempDir,
    log: &'static str,
}

/// How to start a server.
pub(crate) struct Setup<'a> {
    pub(crate) plugins: &'a [&'a str],
    pub(crate) config: &'a str,
    /// Other files of the site: their paths in it, and what they say.
    pub(crate) files: &'a [(&'a str, &'a str)],
    pub(crate) flags: &'a [&'a str],
    /// A command in front, which becomes the server.
    pub(crate) within: &'a [&'a str],
    pub(crate) variables: &'a [(&'a str, &'a Path)],
    /// The file of the site that has the log.
    pub(crate) log: &'static str,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Setup {
            plugins: &["echo_wsh"],
            config: "",
            files: &[],
            flags: &[],
            within: &[],
            variables: &[],
            log: STDERR,
        }
    }
}

impl Server {
    pub(crate) fn start(artifacts: &Artifacts, setup: &Setup<'_>) -> Result<Server> {
        let site = tempfile::Builder::new().prefix("wshd-abuse-").tempdir()?;
        let handlers = site.path().join("handlers");
        fs::create_dir(&handlers)?;
        for plugin in setup.plugins {
            fs::copy(
                artifacts.plugin(plugin),
                handlers.join(format!("{plugin}.so")),
            )?;
        }
        fs::write(site.path().join("config.toml"), setup.config)?;
        for (name, text) in setup.files {
            let path = site.path().join(name);
            fs::create_dir_all(path.parent().unwrap_or(site.path()))?;
            fs::write(path, text)?;
        }
        Server::start_in(artifacts, setup, site, 0)
    }

    /// Starts a server of a site that is there, on this port.
    pub(crate) fn start_in(
        artifacts: &Artifacts,
        setup: &Setup<'_>,
        site: TempDir,
        port: u16,
    ) -> Result<Server> {
        let mut line: Vec<&Path> = setup.within.iter().map(Path::new).collect();
        line.push(&artifacts.server);
        let mut command = Command::new(line[0]);
        command.args(&line[1..]);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"WSHD_") {
                command.env_remove(name);
            }
        }
        let port = port.to_string();
        command.args(["--config", "config.toml", "-w", "handlers"]);
        if !setup.config.contains("listen = ") {
            command.args(["-H", "127.0.0.1", "-p", &port]);
        }
        command
            .current_dir(site.path())
            .env("TMPDIR", site.path())
            // Without a terminal the line of a session is JSON.
            .env("WSHD_ACCESS_LOG_FORMAT", "text")
            .envs(setup.variables.iter().copied())
            .args(setup.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(site.path().join(STDERR))?);
        let child = command.spawn()?;
        let mut server = Server {
            serving: AtomicU32::new(child.id()),
            child,
            port: 0,
            site,
            log: setup.log,
        };
        server.await_listening()?;
        Ok(server)
    }

    fn await_listening(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let log = self.log();
            // The last line may be written in pieces.
            let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let addresses = whole.split("listening address=").skip(1);
            let addresses = addresses.filter_map(|rest| rest.split([' ', '\n']).next());
            // The first that speaks plain HTTP.
            if let Some(address) = addresses.flat_map(str::parse::<SocketAddr>).next() {
                self.port = address.port();
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let why = ended.map_or("does not listen".to_owned(), |it| it.to_string());
                return Err(format!("the server {why}: {}", log.trim_end()).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.site.path().join(name)
    }

    /// Writes a file of the site under another name, and renames it, as a deployer does.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let beside = self.path(&format!("{name}.new"));
        fs::write(&beside, bytes)?;
        Ok(fs::rename(beside, self.path(name))?)
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.inside(self.log)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What the server has logged behind `from`, in whole lines. Moves `from` behind them.
    pub(crate) fn log_from(&self, from: &mut u64) -> Result<String> {
        let mut file = File::open(self.inside(self.log))?;
        file.seek(SeekFrom::Start(*from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes
            .iter()
            .rposition(|it| *it == b'\n')
            .map_or(0, |at| at + 1);
        *from += whole as u64;
        Ok(String::from_utf8_lossy(&bytes[..whole]).into_owned())
    }

    /// A file of the site as the server sees it, which may have a file system of its own mounted there.
    pub(crate) fn inside(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let root = format!("/proc/{}/root", self.pid());
        let seen = Path::new(&root).join(path.strip_prefix("/").unwrap_or(&path));
        if seen.exists() { seen } else { path }
    }

    /// Waits until the log has so many lines with this text.
    pub(crate) fn await_lines(&self, text: &str, count: usize, most: Duration) -> Result<()> {
        let deadline = Instant::now() + most;
        loop {
            let found = self.log().lines().filter(|it| it.contains(text)).count();
            if found >= count {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{found} of {count} lines with `{text}` in the log").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a line of the log that has all these parts. Returns the first one.
    pub(crate) fn line(&self, parts: &[&str], most: Duration) -> Result<String> {
        let deadline = Instant::now() + most;
        loop {
            let log = self.log();
            let found = log
                .lines()
                .find(|line| parts.iter().all(|part| line.contains(part)));
            match found {
                Some(line) => return Ok(line.to_owned()),
                None if Instant::now() > deadline => {
                    return Err(format!("no line with {parts:?} in the log").into());
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Puts a plugin there under this name, and waits until it is loaded.
    pub(crate) fn add(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.put(&format!("handlers/{name}_wsh.so"), bytes)?;
        let handler = format!("handler=\"{name}\"");
        self.line(&["handler loaded", &handler], START_TIMEOUT)?;
        Ok(())
    }

    /// The status that a handshake at this path gets.
    pub(crate) fn handshake_status(&self, path: &str) -> Result<u16> {
        let answer = exchange(self.port, opening(path, "").as_bytes())?;
        Ok(status_of(&answer))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.pid() as i32), signal)?)
    }

    /// Has another process take the place of this one, the `count`th time, and waits until it serves.
    pub(crate) fn upgrade(&self, count: usize, most: Duration) -> Result<()> {
        self.signal(Signal::SIGUSR2)?;
        self.await_lines(UPGRADED, count, most)?;
        let log = self.log();
        let line = log.lines().rfind(|it| it.contains(UPGRADED));
        let pid = line.and_then(|it| it.split("pid=").nth(1)?.split_whitespace().next());
        let pid = pid.ok_or("no number of the new process in the log")?;
        self.serving.store(pid.parse()?, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until no other process of this server runs. Returns how many there are at last.
    pub(crate) fn await_alone(&self, most: Duration) -> Result<usize> {
        let own = self.site.path().canonicalize()?;
        let runs_here = |path: &Path| {
            let here = fs::read_link(path.join("cwd")).is_ok_and(|it| it == own);
            // Those that try handlers have another name.
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            // One that has ended has no memory, but a place until its parent looks.
            let lives = fs::read_to_string(path.join("cmdline")).is_ok_and(|it| !it.is_empty());
            here && lives && name.trim() == "wshd"
        };
        let deadline = Instant::now() + most;
        loop {
            let processes = fs::read_dir("/proc")?.flatten();
            let count = processes.filter(|it| runs_here(&it.path())).count();
            if count <= 1 || Instant::now() > deadline {
                return Ok(count);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self, most: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + most;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(format!("the server has not ended after {most:?}").into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills the server and starts another one at its port with its site.
    pub(crate) fn restart(mut self, artifacts: &Artifacts, setup: &Setup<'_>) -> Result<Server> {
        self.child.kill()?;
        self.child.wait()?;
        let port = self.port;
        let site = std::mem::replace(&mut self.site, tempfile::tempdir()?);
        Server::start_in(artifacts, setup, site, port)
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid())
    }

    /// The images of a plugin that are mapped, the serving one included.
    pub(crate) fn images(&self, plugin: &str) -> Result<Images> {
        let (mut images, mut is_image) = (Images::default(), false);
        for line in fs::read_to_string(format!("/proc/{}/smaps", self.pid()))?.lines() {
            let name = line.split_whitespace().next().unwrap_or_default();
            if name.contains('-') {
                is_image = line.contains(plugin);
                // One mapping of an image has its code.
                images.count += usize::from(is_image && line.contains(" r-xp "));
            } else if is_image && name == "Rss:" {
                let kibibytes = line
                    .split_whitespace()
                    .nth(1)
                    .and_then(|it| it.parse::<u64>().ok());
                images.resident_bytes += kibibytes.unwrap_or_default() * 1024;
            }
        }
        Ok(images)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.serving.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        if self.pid() != self.child.id() {
            let _ = self.signal(Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// Mapped libraries of one plugin. They are never unmapped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Images {
    pub(crate) count: usize,
    pub(crate) resident_bytes: u64,
}

/// What a process has now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) resident_bytes: u64,
    /// The most that was resident so far.
    pub(crate) peak_bytes: u64,
    pub(crate) descriptors: usize,
    /// In user space and in the kernel, of all threads.
    pub(crate) cpu: Duration,
}

impl Usage {
    fn of(pid: u32) -> Result<Usage> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let bytes = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kibibytes = line.and_then(|rest| rest.split_whitespace().next());
            Ok(kibibytes.ok_or("a line is missing")?.parse::<u64>()? * 1024)
        };
        let clock = nix::time::clock_getcpuclockid(Pid::from_raw(pid as i32))?;
        Ok(Usage {
            resident_bytes: bytes("VmRSS:")?,
            peak_bytes: bytes("VmHWM:")?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
            cpu: clock.now()?.into(),
        })
    }
}

/// Finds a port that no socket listens on now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}

const UPGRADED: &str = "upgraded: another process serves from now on";
const STDERR: &str = "stderr.log";
const START_TIMEOUT: Duration = Duration::from_secs(60);
