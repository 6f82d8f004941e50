//! A running `wshd` with every handler and page of this repository.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use crate::artifacts::{artifacts, repository};
use crate::{eventually, within};

/// A server. Its process is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    port: u16,
    site: TempDir,
}

impl Server {
    /// Starts a server without a config file.
    pub(crate) async fn start() -> Server {
        Server::with_config("").await
    }

    /// Starts a server that shows the pages that are part of the program.
    pub(crate) async fn without_document_root() -> Server {
        let site = site();
        let command = wshd_with_handlers(&site);
        Server::launch(command, site).await
    }

    /// Starts a server with this config file.
    pub(crate) async fn with_config(config: &str) -> Server {
        let site = site();
        let mut command = wshd_with_handlers(&site);
        command.arg("-d").arg(repository().join("handlers/www"));
        if !config.is_empty() {
            let file = site.path().join("config.toml");
            fs::write(&file, config).expect("writing the config file");
            command.arg("--config").arg(file);
        }
        Server::launch(command, site).await
    }

    /// Starts `wshd dev` for the handler in C, with a copy of the pages of this repository.
    pub(crate) async fn dev() -> Server {
        let site = site();
        copy_pages(&site);
        let mut command = wshd(&site);
        command.args(["dev", "mine", "-p", "0"]);
        save_c(&site, str::to_owned);
        Server::launch(command, site).await
    }

    /// Starts `wshd dev` for the chat, with the pages of this repository, and history for its rooms.
    pub(crate) async fn dev_chat() -> Server {
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
        save_chat(&site, str::to_owned);
        fs::write(site.path().join("config.toml"), ROOMS).expect("writing the config file");
        let mut command = wshd(&site);
        command.args(["dev", "mine", "-p", "0"]);
        // What was compiled in an earlier run is not compiled again.
        command.env("CARGO_TARGET_DIR", repository().join("target/browser"));
        let server = Server::launch(command, site).await;
        within(BUILT, "the chat", async || {
            server.count("chat_wsh  ws://").checked_sub(1)
        })
        .await;
        server
    }

    /// Saves the chat of `dev_chat` with a change.
    pub(crate) fn save_chat(&self, change: impl Fn(&str) -> String) {
        save_chat(&self.site, change);
    }

    /// Waits until so many saves of the chat of `dev_chat` are live.
    pub(crate) async fn is_live(&self, saves: usize) {
        let live = async || (self.count("chat_wsh: live in ") >= saves).then_some(());
        within(BUILT, "the chat is live", live).await;
    }

    /// Counts the log lines that contain `part`.
    fn count(&self, part: &str) -> usize {
        let log = self.log.lock().expect("no thread panics with it");
        log.iter().filter(|line| line.contains(part)).count()
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

    /// Starts the server and waits until it listens.
    async fn launch(mut command: Command, site: TempDir) -> Server {
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
            site,
        };
        let line = server.line(&["listening"]).await;
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

    /// Returns the URL of a page at `host`.
    pub(crate) fn page(&self, host: &str, page: &str) -> String {
        format!("http://{host}:{}/{page}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits for a log line that contains all of `parts`.
    pub(crate) async fn line(&self, parts: &[&str]) -> String {
        let find = async || {
            let log = self.log.lock().expect("no thread panics with it");
            log.iter()
                .find(|line| parts.iter().all(|part| line.contains(part)))
                .cloned()
        };
        eventually(&format!("a log line with {parts:?}"), find).await
    }
}

/// The directory in which `dev` finds pages.
const PAGES: &str = "mine/www";

fn site() -> TempDir {
    let site = tempfile::Builder::new().prefix("wshd-browser-").tempdir();
    site.expect("a temp dir")
}

/// A command line in this site without arguments.
fn wshd(site: &TempDir) -> Command {
    let mut command = Command::new(&artifacts().server);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WSHD_")) {
        command.env_remove(name);
    }
    command.current_dir(site.path());
    command
}

/// A command line that serves all handlers, which are copied into this site.
fn wshd_with_handlers(site: &TempDir) -> Command {
    let handlers = site.path().join("handlers");
    fs::create_dir(&handlers).expect("a handlers directory");
    for library in &artifacts().handlers {
        let name = library.file_name().expect("a library has a name");
        fs::copy(library, handlers.join(name)).expect("copying a handler");
    }
    let mut command = wshd(site);
    command.args(["-p", "0", "-w"]).arg(&handlers);
    command
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

/// A configuration in which the rooms of the chat have a history.
pub(crate) const ROOMS: &str = "[topics.\"chat/*\"]\nhistory = { count = 200 }\n";
/// How long a first build may take on a busy machine.
const BUILT: Duration = Duration::from_secs(180);

impl Drop for Server {
    fn drop(&mut self) {
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
