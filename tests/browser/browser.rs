//! A browser, in which one case after the other runs, each as a user of its own.

use std::cell::{RefCell, RefMut};

use serde_json::{Value, json};

use crate::bidi::{Connection, text};
use crate::page::Page;
use crate::program::{Kind, Program};

/// A running browser. It ends with all its windows when this is dropped.
pub(crate) struct Browser {
    pub(crate) kind: Kind,
    connection: RefCell<Connection>,
    program: Program,
    /// What this case has of its own: windows, cookies and storage. A *user context* of BiDi.
    user: String,
}

impl Browser {
    pub(crate) fn start(kind: Kind) -> Browser {
        let program = Program::start(kind);
        let mut capabilities = program.capabilities.clone();
        // Certificates are made by tests, and no CA that a browser knows has signed them.
        capabilities["acceptInsecureCerts"] = json!(true);
        // Some cases look for an alert.
        capabilities["unhandledPromptBehavior"] = json!({ "default": "ignore" });
        let mut connection = Connection::open(program.port, capabilities);
        let observer = json!({ "functionDeclaration": OBSERVER });
        connection.command("script.addPreloadScript", observer);
        Browser {
            kind,
            connection: RefCell::new(connection),
            program,
            user: String::new(),
        }
    }

    /// Begins a case: nothing of earlier cases is left.
    pub(crate) fn begin(&mut self) {
        let created = self.command("browser.createUserContext", json!({}));
        self.user = text(&created["userContext"]);
        self.connection().forget_events();
    }

    /// Ends a case: its windows close.
    pub(crate) fn end(&mut self) {
        let user = std::mem::take(&mut self.user);
        self.command("browser.removeUserContext", json!({ "userContext": user }));
    }

    /// Opens a window with this page.
    pub(crate) fn open(&self, url: &str) -> Page<'_> {
        let asked = json!({ "type": "window", "userContext": self.user });
        let created = self.command("browsingContext.create", asked);
        let context = text(&created["context"]);
        if self.kind == Kind::Chromium {
            self.keep_messages_to_the_page(&context);
        }
        let page = Page::new(self, context);
        page.go_to(url);
        page
    }

    /// Has the driver listen to no network of a window. It is told each message of a WebSocket otherwise: with 64 MiB both ways
    /// a page waited 14 seconds, and 0.3 without.
    fn keep_messages_to_the_page(&self, context: &str) {
        let session = self.command("goog:cdp.getSession", json!({ "context": context }));
        let disable = json!({
            "method": "Network.disable",
            "params": {},
            "session": session["session"],
        });
        self.command("goog:cdp.sendCommand", disable);
    }

    /// Returns the errors of all pages of this case: those of scripts, of files that do not load, and of content policies.
    pub(crate) fn complaints(&self) -> Vec<String> {
        // What a browser has told before the answer is here with it.
        self.command("browsingContext.getTree", json!({ "maxDepth": 0 }));
        self.connection().logged_errors()
    }

    /// The user context of this case.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn command(&self, method: &str, params: Value) -> Value {
        self.connection().command(method, params)
    }

    pub(crate) fn connection(&self) -> RefMut<'_, Connection> {
        self.connection.borrow_mut()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // After a panic it may not answer.
        if !std::thread::panicking() {
            let connection = self.connection.get_mut();
            let _ = connection.try_command("browser.close", json!({}));
            self.program.wait_for_end();
        }
    }
}

/// Has each page log what browsers keep for their own console: violations of content policies, and files that do not load.
const OBSERVER: &str = r#"() => {
    addEventListener("securitypolicyviolation", (event) => {
        console.error(`content policy: ${event.effectiveDirective} forbids ${event.blockedURI}`);
    });
    addEventListener("error", (event) => {
        if (event.target instanceof Element) console.error(`not loaded: ${event.target.outerHTML}`);
    }, true);
}"#;
