//! One window of a browser, driven as its user would: clicks, keys, and what can be read.

use std::path::Path;

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::artifacts::repository;
use crate::bidi::text;
use crate::browser::Browser;
use crate::eventually;

/// A page, which may become another one in its window. A *browsing context* of BiDi.
pub(crate) struct Page<'a> {
    browser: &'a Browser,
    context: String,
}

impl<'a> Page<'a> {
    pub(crate) fn new(browser: &'a Browser, context: String) -> Page<'a> {
        Page { browser, context }
    }

    /// Loads another page.
    pub(crate) fn go_to(&self, url: &str) {
        self.command(
            "browsingContext.navigate",
            json!({ "url": url, "wait": "complete" }),
        );
    }

    /// Goes back to the page before.
    pub(crate) fn go_back(&self) {
        self.command("browsingContext.traverseHistory", json!({ "delta": -1 }));
    }

    /// Closes the window.
    pub(crate) fn close(self) {
        self.command("browsingContext.close", json!({}));
    }

    /// Runs the body of an async function, which has `given`, and returns what it returns.
    pub(crate) fn run(&self, body: &str, given: Value) -> Value {
        self.try_run(body, given)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Like `run`. An error is one of the script, or of a page that goes away meanwhile.
    fn try_run(&self, body: &str, given: Value) -> Result<Value, String> {
        let function = format!(
            "async (given) => JSON.stringify(await (async (given) => {{ {body} }})(JSON.parse(given)) ?? null)"
        );
        let params = json!({
            "functionDeclaration": function,
            "arguments": [{ "type": "string", "value": given.to_string() }],
            "awaitPromise": true,
            "target": { "context": self.context },
        });
        let method = "script.callFunction";
        let answer = self.browser.connection().try_command(method, params)?;
        match answer["result"]["value"].as_str() {
            Some(result) => Ok(serde_json::from_str(result).expect("the function returns JSON")),
            None => Err(format!("{} in: {body}", answer["exceptionDetails"]["text"])),
        }
    }

    /// Clicks an element as soon as the middle of it can be clicked.
    pub(crate) fn click(&self, selector: &str) {
        self.command("browsingContext.activate", json!({}));
        let point = || {
            self.found(MIDDLE, json!(selector))
                .filter(|it| !it.is_null())
        };
        let point = eventually(&format!("`{selector}` to click"), point);
        let actions = json!([
            { "type": "pointerMove", "x": point["x"], "y": point["y"] },
            { "type": "pointerDown", "button": 0 },
            { "type": "pointerUp", "button": 0 },
        ]);
        self.act(json!({ "type": "pointer", "id": "mouse", "actions": actions }));
    }

    /// Presses a key, which WebDriver names by a character.
    pub(crate) fn press(&self, key: &str) {
        self.command("browsingContext.activate", json!({}));
        let actions =
            json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.act(json!({ "type": "key", "id": "keyboard", "actions": actions }));
    }

    /// Does what a user does with a device.
    fn act(&self, source: Value) {
        let params = json!({ "context": self.context, "actions": [source] });
        let mut connection = self.browser.connection();
        connection.command_or_prompt("input.performActions", params);
    }

    /// Puts a text into a field, in place of what is there.
    pub(crate) fn fill(&self, selector: &str, wanted: &str) {
        let script = "const field = document.querySelector(given.selector);
            field.focus();
            field.select();
            document.execCommand(given.wanted === '' ? 'delete' : 'insertText', false, given.wanted);
            return field.value;";
        let value = self.run(script, json!({ "selector": selector, "wanted": wanted }));
        assert_eq!(value, wanted, "`{selector}` takes a text");
    }

    /// Chooses the option of a select element that has this value.
    pub(crate) fn choose(&self, selector: &str, wanted: &str) {
        let script = "const field = document.querySelector(given.selector);
            field.value = given.wanted;
            for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, { bubbles: true }));
            return field.value;";
        let value = self.run(script, json!({ "selector": selector, "wanted": wanted }));
        assert_eq!(value, wanted, "`{selector}` has an option");
    }

    /// Chooses a file.
    pub(crate) fn choose_file(&self, selector: &str, file: &Path) {
        let locator = json!({ "locator": { "type": "css", "value": selector } });
        let nodes = self.command("browsingContext.locateNodes", locator);
        let element = json!({ "sharedId": nodes["nodes"][0]["sharedId"] });
        self.command(
            "input.setFiles",
            json!({ "element": element, "files": [file] }),
        );
    }

    /// Waits until the visible text of an element contains `wanted`.
    pub(crate) fn sees(&self, selector: &str, wanted: &str) {
        let find = || {
            let text = self.found(TEXT, json!(selector))?;
            text.as_str()?.contains(wanted).then_some(())
        };
        eventually(&format!("`{wanted}` in `{selector}`"), find);
    }

    /// Returns the visible text of an element now.
    pub(crate) fn text(&self, selector: &str) -> String {
        text(&self.run(TEXT, json!(selector)))
    }

    /// Returns the visible texts of all elements that match, in their order.
    pub(crate) fn texts(&self, selector: &str) -> Vec<String> {
        let script = "return [...document.querySelectorAll(given)].map((it) => it.innerText);";
        let texts = self.run(script, json!(selector));
        texts.as_array().into_iter().flatten().map(text).collect()
    }

    /// Returns how many elements match.
    pub(crate) fn count(&self, selector: &str) -> usize {
        let count = self.run(
            "return document.querySelectorAll(given).length;",
            json!(selector),
        );
        count.as_u64().expect("a number") as usize
    }

    /// Returns the HTML that `wshd dev` shows over the page, empty if it shows nothing.
    pub(crate) fn overlay(&self) -> String {
        let script = "return document.querySelector('wshd-dev')?.shadowRoot.innerHTML ?? ''";
        // A page that is just loaded again has none yet.
        let html = self.found(script, Value::Null).unwrap_or_default();
        html.as_str().unwrap_or_default().to_owned()
    }

    /// Waits for an alert, closes it and returns its text.
    pub(crate) fn alert(&self) -> String {
        let text = self.browser.connection().prompt(&self.context);
        self.command(
            "browsingContext.handleUserPrompt",
            json!({ "accept": true }),
        );
        text
    }

    /// Saves two pictures of the page, as BROWSER-NAME-wide.png and -narrow.png, if `BROWSER_SCREENSHOTS` names a directory.
    /// A relative one is taken from the repository's root, although cargo runs tests in their package.
    pub(crate) fn screenshot(&self, name: &str) {
        let Some(directory) = std::env::var_os("BROWSER_SCREENSHOTS") else {
            return;
        };
        let directory = repository().join(directory);
        std::fs::create_dir_all(&directory).expect("the directory for screenshots");
        for (size, width) in [("narrow", 390), ("wide", 1100)] {
            let viewport = json!({ "width": width, "height": 900 });
            self.command(
                "browsingContext.setViewport",
                json!({ "viewport": viewport }),
            );
            let picture = self.command("browsingContext.captureScreenshot", json!({}));
            let png = BASE64.decode(text(&picture["data"]).as_bytes());
            let file = directory.join(format!("{}-{name}-{size}.png", self.browser.kind.name()));
            std::fs::write(&file, png.expect("Base64"))
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }

    /// What a script finds, `None` while the page goes away for another one.
    fn found(&self, script: &str, given: Value) -> Option<Value> {
        self.try_run(script, given).ok()
    }

    /// Runs a command about this window.
    fn command(&self, method: &str, mut params: Value) -> Value {
        params["context"] = json!(self.context);
        self.browser.command(method, params)
    }
}

/// The middle of an element, scrolled into view, unless another one is in front of it or the page is not loaded, whose scripts
/// hear no click yet. A click goes where the browser has last painted, so it has to paint once more.
const MIDDLE: &str = "
    if (document.readyState !== 'complete') return null;
    const element = document.querySelector(given);
    element?.scrollIntoView({ block: 'center', behavior: 'instant' });
    const painted = () => new Promise((resolve) => requestAnimationFrame(resolve));
    const late = new Promise((resolve) => setTimeout(resolve, 500));
    await Promise.race([painted().then(painted), late]);
    const { x, y, width, height } = element?.getBoundingClientRect() ?? {};
    const hit = element && document.elementFromPoint(x + width / 2, y + height / 2);
    const isInFront = element?.contains(hit) && !element.disabled;
    return isInFront ? { x: Math.floor(x + width / 2), y: Math.floor(y + height / 2) } : null;";
const TEXT: &str = "return document.querySelector(given)?.innerText ?? '';";
