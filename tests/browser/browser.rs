//! A headless Chromium with a driver of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use tempfile::TempDir;

use crate::artifacts::repository;
use crate::eventually;

/// A browser. It ends with all its windows when this is dropped.
pub(crate) struct Browser {
    client: Client,
    driver: Driver,
}

impl Browser {
    pub(crate) async fn start() -> Browser {
        let driver = Driver::start();
        let options = json!({
            "binary": chromium(),
            "args": [
                "--headless",
                // A container often has no other user than root, and Chromium needs this for root.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--window-size=1100,900",
                format!("--user-data-dir={}", driver.profile.path().display()),
            ],
        });
        let capabilities = json!({
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
            // Some tests look for an alert.
            "unhandledPromptBehavior": "ignore",
        });
        let capabilities = capabilities.as_object().expect("it is one").clone();
        let address = format!("http://127.0.0.1:{}", driver.port);
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&address)
            .await
            .expect("chromedriver starts a browser");
        Browser { client, driver }
    }

    pub(crate) async fn open(&self, url: &str) {
        self.client.goto(url).await.expect("the page loads");
    }

    /// Opens a second window and makes it the current one. Returns the first.
    pub(crate) async fn open_beside(&self, url: &str) -> fantoccini::wd::WindowHandle {
        let first = self.window().await;
        let second = self
            .client
            .new_window(false)
            .await
            .expect("a new window")
            .handle;
        self.client
            .switch_to_window(second)
            .await
            .expect("it is there");
        self.open(url).await;
        first
    }

    /// Returns the current window.
    pub(crate) async fn window(&self) -> fantoccini::wd::WindowHandle {
        self.client.window().await.expect("there is a window")
    }

    pub(crate) async fn switch_to(&self, window: fantoccini::wd::WindowHandle) {
        self.client
            .switch_to_window(window)
            .await
            .expect("the window is there");
    }

    pub(crate) async fn click(&self, selector: &str) {
        let element = self.client.wait().for_element(Locator::Css(selector)).await;
        let element = element.unwrap_or_else(|error| panic!("`{selector}`: {error}"));
        element
            .click()
            .await
            .unwrap_or_else(|error| panic!("`{selector}`: {error}"));
    }

    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        let element = self.client.find(Locator::Css(selector)).await;
        let element = element.unwrap_or_else(|error| panic!("`{selector}`: {error}"));
        element
            .clear()
            .await
            .unwrap_or_else(|error| panic!("`{selector}`: {error}"));
        element
            .send_keys(text)
            .await
            .unwrap_or_else(|error| panic!("`{selector}`: {error}"));
    }

    /// Chooses the option of a select element that has this value.
    pub(crate) async fn choose(&self, selector: &str, value: &str) {
        let element = self.client.find(Locator::Css(selector)).await;
        let element = element.unwrap_or_else(|error| panic!("`{selector}`: {error}"));
        element
            .select_by_value(value)
            .await
            .unwrap_or_else(|error| panic!("`{selector}`: {error}"));
    }

    /// Presses a key of the page.
    pub(crate) async fn press(&self, key: &str) {
        let body = self.client.find(Locator::Css("body")).await;
        let pressed = body.expect("a page has a body").send_keys(key).await;
        pressed.expect("the page takes keys");
    }

    /// Waits until the visible text of an element contains `wanted`.
    pub(crate) async fn sees(&self, selector: &str, wanted: &str) {
        let find = async || {
            let element = self.client.find(Locator::Css(selector)).await.ok()?;
            element.text().await.ok()?.contains(wanted).then_some(())
        };
        eventually(&format!("`{wanted}` in `{selector}`"), find).await;
    }

    /// Returns the text of an element now.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let element = self.client.find(Locator::Css(selector)).await;
        let element = element.unwrap_or_else(|error| panic!("`{selector}`: {error}"));
        element.text().await.expect("an element has a text")
    }

    /// Returns the texts of all elements that match, in their order.
    pub(crate) async fn texts(&self, selector: &str) -> Vec<String> {
        let elements = self.client.find_all(Locator::Css(selector)).await;
        let mut texts = Vec::new();
        for element in elements.expect("a selector") {
            texts.push(element.text().await.expect("an element has a text"));
        }
        texts
    }

    /// Returns how many elements match.
    pub(crate) async fn count(&self, selector: &str) -> usize {
        self.client
            .find_all(Locator::Css(selector))
            .await
            .expect("a selector")
            .len()
    }

    /// Returns the HTML that `wshd dev` shows over the page, empty if it shows nothing.
    pub(crate) async fn overlay(&self) -> String {
        let script = "return document.querySelector('wshd-dev')?.shadowRoot.innerHTML ?? ''";
        let html = self.client.execute(script, Vec::new()).await;
        let html = html.expect("the page runs scripts");
        html.as_str().expect("a text").to_owned()
    }

    /// Waits for an alert, closes it and returns its text.
    pub(crate) async fn alert(&self) -> String {
        let find = async || self.client.get_alert_text().await.ok();
        let text = eventually("an alert", find).await;
        self.client.accept_alert().await.expect("the alert is open");
        text
    }

    /// Returns the errors of the pages of this window, such as those of their content policy.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let request = json!({ "type": "browser" }).to_string();
        let session = self
            .client
            .session_id()
            .await
            .expect("asking")
            .expect("a session");
        let answer = self
            .driver
            .post(&format!("/session/{session}/se/log"), &request);
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("an answer in JSON");
        let lines = answer["value"]
            .as_array()
            .expect("the browser's log")
            .iter();
        lines.map(|line| line["message"].to_string()).collect()
    }

    /// Saves a picture of the page as NAME.png if `BROWSER_SCREENSHOTS` names a directory. A relative one is taken from the
    /// repository's root, although cargo runs tests in their package.
    pub(crate) async fn screenshot(&self, name: &str) {
        let Some(directory) = std::env::var_os("BROWSER_SCREENSHOTS") else {
            return;
        };
        let directory = repository().join(directory);
        let png = self.client.screenshot().await.expect("a screenshot");
        std::fs::create_dir_all(&directory).expect("the directory for screenshots");
        let file = directory.join(format!("{name}.png"));
        std::fs::write(&file, png).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

/// A running chromedriver.
struct Driver {
    child: Child,
    port: u16,
    profile: TempDir,
}

impl Driver {
    fn start() -> Driver {
        // Another program may take the free port before the driver listens. Then the driver ends.
        (0..5)
            .find_map(|_| Driver::try_start())
            .expect("chromedriver finds a port in five tries")
    }

    /// Starts a driver. `None` if it ended before it listened.
    fn try_start() -> Option<Driver> {
        let profile = tempfile::Builder::new().prefix("wshd-chromium-").tempdir();
        let program = on_path(&["chromedriver"]);
        let mut child = Command::new(program)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its stdout is piped")).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        let Some(port) = port else {
            let _ = child.wait();
            return None;
        };
        // Read on: a driver gets stuck when its output is not read.
        std::thread::spawn(move || lines.map_while(Result::ok).count());
        let profile = profile.expect("a temp dir");
        Some(Driver {
            child,
            port,
            profile,
        })
    }

    /// Sends a command of the driver's own, for which the WebDriver standard has none.
    fn post(&self, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the driver listens");
        stream
            .set_read_timeout(Some(DRIVER_TIMEOUT))
            .expect("a timeout");
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .expect("sending a request");
        // The driver keeps every connection open, so the length says where the response ends.
        let mut answer = BufReader::new(stream);
        let mut length = 0;
        let mut line = String::new();
        while answer.read_line(&mut line).expect("a head") > 2 {
            let lowercase = line.to_ascii_lowercase();
            if let Some(value) = lowercase.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            line.clear();
        }
        let mut body = vec![0; length];
        answer.read_exact(&mut body).expect("a body");
        String::from_utf8(body).expect("an answer in UTF-8")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // A driver that is asked to shut down ends its browser. One that is killed leaves it running.
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let _ = stream.set_read_timeout(Some(DRIVER_TIMEOUT));
            let _ = stream.write_all(b"GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
            let _ = stream.read(&mut [0; 1024]);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn chromium() -> PathBuf {
    on_path(&["chromium", "chromium-browser", "google-chrome"])
}

/// Returns the first of these programs that is installed.
fn on_path(names: &[&str]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let candidates = names
        .iter()
        .flat_map(|name| directories.iter().map(move |it| it.join(name)));
    let found = candidates.into_iter().find(|candidate| candidate.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "no `{}` on the PATH: these tests drive a real browser, install it with \
             `apt-get install chromium chromium-driver`",
            names[0]
        )
    })
}

/// The limit for an answer of the driver, which takes milliseconds.
const DRIVER_TIMEOUT: Duration = Duration::from_secs(20);
