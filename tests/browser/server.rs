//! A running `wshd`, with plugins and pages of this repository.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::artifacts::{artifacts, repository};
use crate::{eventually, within};

/// A server. Its process is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    port: u16,
    scheme: &'static str,
    site: TempDir,
}

/// What a server is started with.
pub(crate) struct Builder {
    command: Command,
    site: TempDir,
    scheme: &'static str,
}

impl Server {
    /// A server with these plugins. It has a page that does nothing, `blank.html`, whose scripts know `Heard`.
    pub(crate) fn of(plugins: &[&str]) -> Builder {
        let mut builder = Builder::new(plugins);
        builder
            .command
            .arg("-d")
            .arg(repository().join("tests/browser/www"));
        builder
    }

    /// A server with the handlers that the pages of the examples talk to, and those pages.
    pub(crate) fn with_pages() -> Builder {
        let mut builder = Builder::new(TALKED_TO);
        builder
            .command
            .arg("-d")
            .arg(repository().join("handlers/www"));
        builder
    }

    /// Like `with_pages`, but the pages are those that are part of the program.
    pub(crate) fn without_document_root() -> Builder {
        Builder::new(TALKED_TO)
    }

    /// Starts `wshd dev` for the handler in C, with a copy of the pages of this repository.
    pub(crate) fn dev() -> Server {
        Server::dev_over("http", &[])
    }

    /// Like `dev`, over TLS with a certificate that `wshd dev` makes.
    pub(crate) fn dev_tls() -> Server {
        Server::dev_over("https", &["--tls"])
    }

    fn dev_over(scheme: &'static str, flags: &[&str]) -> Server {
        let site = site();
        copy_pages(&site);
        let mut command = wshd(&site);
        command.args(["dev", "mine", "-p", "0"]).args(flags);
        command.env("XDG_STATE_HOME", site.path().join("state"));
        save_c(&site, str::to_owned);
        Server::launch(command, site, scheme)
    }

    /// Starts `wshd dev` for the chat, with the pages of this repository, and history for its rooms.
    pub(crate) fn dev_chat() -> Server {
        let site = site();
        copy_pages(&site);
        let sdk = repository().join("plugin-api");
        let manifest = format!(
            "[package]\nname = \"chat_wsh\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [lib]\ncrate-type = [\"cdylib\"]\n\n\
             [dependencies]\nwshd-plugin = {{ path = {sdk:?} }}\n\n[workspace]\n"
        );
        fs::create_dir_all(site.path().join("mine/chat_wsh/src")).expect("a directory for a crate");
        fs::write(site.path().join("mine/chat_wsh/Cargo.toml"), manifest).expect("writing it");
        // With the versions that are here already, cargo asks no registry.
        let versions = repository().join("Cargo.lock");
        fs::copy(versions, site.path().join("mine/chat_wsh/Cargo.lock")).expect("copying it");
        let room = ["chat_wsh/src/room.rs", "mine/chat_wsh/src/room.rs"];
        save(&site, room[0], room[1], str::to_owned);
        save_chat(&site, str::to_owned);
        fs::write(site.path().join("config.toml"), ROOMS).expect("writing the config file");
        let mut command = wshd(&site);
        command.args(["dev", "mine", "-p", "0"]);
        // What was compiled in an earlier run is not compiled again.
        command.env("CARGO_TARGET_DIR", repository().join("target/browser"));
        let server = Server::launch(command, site, "http");
        within(BUILT, "the chat", || {
            server.count("chat_wsh  ws://").checked_sub(1)
        });
        server
    }

    /// Saves the chat of `dev_chat` with a change.
    pub(crate) fn save_chat(&self, change: impl Fn(&str) -> String) {
        save_chat(&self.site, change);
    }

    /// Waits until so many saves of the chat of `dev_chat` are live.
    pub(crate) fn is_live(&self, saves: usize) {
        let live = || (self.count("chat_wsh: live in ") >= saves).then_some(());
        within(BUILT, "the chat is live", live);
    }

    /// Saves the handler of `dev` with a change.
    pub(crate) fn save(&self, change: impl Fn(&str) -> String) {
        save_c(&self.site, change);
    }

    /// Saves a page of `dev` with a change, in place.
    pub(crate) fn save_page(&self, page: &str, change: impl Fn(&str) -> String) {
        let path = self.site.path().join(PAGES).join(page);
        let before = fs::read_to_string(&path).expect("the page");
        fs::write(path, change(&before)).expect("writing the page");
    }

    /// Replaces a plugin, or adds one, as a deployer does: by rename.
    pub(crate) fn put_plugin(&self, name: &str, bytes: &[u8]) {
        put_plugin(&self.site, name, bytes);
    }

    /// Tells the server to stop.
    pub(crate) fn stop(&self) {
        let process = Pid::from_raw(self.child.id().cast_signed()).expect("a process has an id");
        // One that has ended already is still there to be waited for.
        kill_process(process, Signal::TERM).expect("the process is this one's child");
    }

    /// Starts the server and waits until it listens.
    fn launch(mut command: Command, site: TempDir, scheme: &'static str) -> Server {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("wshd starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().expect("its stderr is piped")).lines();
        let sink = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sink.lock().expect("no thread panics with it").push(line);
            }
        });

        let mut server = Server {
            child,
            log,
            port: 0,
            scheme,
            site,
        };
        let line = server.line(&["listening"]);
        let address = line.split("address=").nth(1).unwrap_or_default();
        let port = address
            .split_whitespace()
            .next()
            .and_then(|it| it.rsplit(':').next());
        server.port = port
            .and_then(|port| port.parse().ok())
            .expect("the line ends in a port");
        server
    }

    /// Returns the URL of a page at `localhost`.
    pub(crate) fn page(&self, page: &str) -> String {
        self.page_at("localhost", page)
    }

    /// Returns the URL of a page at `host`.
    pub(crate) fn page_at(&self, host: &str, page: &str) -> String {
        format!("{}://{host}:{}/{page}", self.scheme, self.port)
    }

    /// Returns the URL of a page that does nothing.
    pub(crate) fn blank(&self) -> String {
        self.page("blank.html")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A directory that ends with the server.
    pub(crate) fn directory(&self) -> &Path {
        self.site.path()
    }

    /// Waits for a log line that contains all of `parts`.
    pub(crate) fn line(&self, parts: &[&str]) -> String {
        let find = || {
            let log = self.log.lock().expect("no thread panics with it");
            log.iter()
                .find(|line| parts.iter().all(|part| line.contains(part)))
                .cloned()
        };
        eventually(&format!("a log line with {parts:?}"), find)
    }

    /// Waits until the session at `path` is closed, and returns the bytes that the server got and sent in it.
    pub(crate) fn bytes_in_and_out(&self, path: &str) -> [u64; 2] {
        let line = self.line(&["session closed", &format!("path={path} ")]);
        ["bytes_in=", "bytes_out="].map(|field| {
            let (_, value) = line.split_once(field).expect("a field");
            let digits = value.split(' ').next().unwrap_or_default();
            digits.parse().expect("a number")
        })
    }

    /// Counts the log lines that contain `part`.
    pub(crate) fn count(&self, part: &str) -> usize {
        let log = self.log.lock().expect("no thread panics with it");
        log.iter().filter(|line| line.contains(part)).count()
    }
}

impl Builder {
    fn new(plugins: &[&str]) -> Builder {
        let site = site();
        let handlers = site.path().join(HANDLERS);
        fs::create_dir(&handlers).expect("a handlers directory");
        for plugin in plugins {
            let library = handlers.join(format!("{plugin}.so"));
            fs::copy(artifacts().plugin(plugin), library).expect("copying a plugin");
        }
        let mut command = wshd(&site);
        command.args(["-p", "0", "-w"]).arg(&handlers);
        Builder {
            command,
            site,
            scheme: "http",
        }
    }

    /// Adds a plugin that is no part of this repository as it is.
    pub(crate) fn plugin(self, name: &str, bytes: &[u8]) -> Builder {
        put_plugin(&self.site, name, bytes);
        self
    }

    /// Uses this configuration file.
    pub(crate) fn config(mut self, config: &str) -> Builder {
        let file = self.site.path().join("config.toml");
        fs::write(&file, config).expect("writing the config file");
        self.command.arg("--config").arg(file);
        self
    }

    /// Speaks TLS, with a certificate for this machine that no CA has signed.
    pub(crate) fn tls(mut self) -> Builder {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let certificate = self.site.path().join("cert.pem");
        let key = self.site.path().join("key.pem");
        fs::write(&certificate, made.cert.pem()).expect("writing");
        fs::write(&key, made.signing_key.serialize_pem()).expect("writing");
        self.command
            .arg("--tls")
            .arg("-c")
            .arg(certificate)
            .arg("-k")
            .arg(key);
        self.scheme = "https";
        self
    }

    /// Lets one user in only, written as `USER:PASSWORD`.
    pub(crate) fn basic_auth(mut self, credential: &str) -> Builder {
        self.command.arg("--basic-auth");
        self.command.args(["--basic-auth-credential", credential]);
        self
    }

    pub(crate) fn start(self) -> Server {
        Server::launch(self.command, self.site, self.scheme)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that stops by itself removes what it has put elsewhere. Pages that are still open hold it up.
        self.stop();
        let end = Instant::now() + STOPPED;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self
                .log
                .lock()
                .expect("no thread panics with it")
                .join("\n");
            eprintln!("--- the server's log\n{log}\n---");
        }
    }
}

fn site() -> TempDir {
    let site = tempfile::Builder::new().prefix("wshd-browser-").tempdir();
    site.expect("a temp dir")
}

/// A command line in this site without arguments. The server ends when this process does, however that ends.
fn wshd(site: &TempDir) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(&artifacts().server);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WSHD_")) {
        command.env_remove(name);
    }
    command.current_dir(site.path());
    // Without a terminal these lines are JSON.
    command.env("WSHD_ACCESS_LOG_FORMAT", "text");
    command
}

fn put_plugin(site: &TempDir, name: &str, bytes: &[u8]) {
    let file = site.path().join(HANDLERS).join(format!("{name}.so"));
    let hidden = file.with_file_name(".coming");
    fs::write(&hidden, bytes).expect("writing a plugin");
    fs::rename(hidden, file).expect("renaming it");
}

/// Copies the pages of this repository to where `dev` finds them.
fn copy_pages(site: &TempDir) {
    let pages = site.path().join(PAGES);
    fs::create_dir_all(&pages).expect("a directory for pages");
    let originals = fs::read_dir(repository().join("handlers/www")).expect("the pages");
    for original in originals.map(|entry| entry.expect("a page")) {
        let copied = fs::copy(original.path(), pages.join(original.file_name()));
        copied.expect("copying a page");
    }
}

fn save_c(site: &TempDir, change: impl Fn(&str) -> String) {
    save(site, "c/cecho.c", "mine/cecho.c", change);
}

fn save_chat(site: &TempDir, change: impl Fn(&str) -> String) {
    save(
        site,
        "chat_wsh/src/lib.rs",
        "mine/chat_wsh/src/lib.rs",
        change,
    );
}

/// Saves a source of `handlers/` with a change, as an editor does: by rename.
fn save(site: &TempDir, original: &str, file: &str, change: impl Fn(&str) -> String) {
    let source = fs::read_to_string(repository().join("handlers").join(original));
    let source = change(&source.expect("the handler's source"));
    let file = site.path().join(file);
    let hidden = file.with_file_name(".saving");
    fs::write(&hidden, source).expect("writing the handler");
    fs::rename(hidden, file).expect("renaming it");
}

/// The handlers that the index of a server with pages lists, in the order of their paths.
pub(crate) const TALKED_TO: &[&str] = &[
    "benchmark_helper_wsh",
    "chat_wsh",
    "clock_wsh",
    "echo_wsh",
    "slow_wsh",
];
/// A configuration in which the rooms of the chat have a history.
pub(crate) const ROOMS: &str = "[topics.\"chat/*\"]\nhistory = { count = 200 }\n";
const HANDLERS: &str = "handlers";
/// The directory in which `dev` finds pages.
const PAGES: &str = "mine/www";
/// How long a server may take to stop before it is killed.
const STOPPED: Duration = Duration::from_secs(1);
/// How long a first build may take on a busy machine.
const BUILT: Duration = Duration::from_secs(180);
