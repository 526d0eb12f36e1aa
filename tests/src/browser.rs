//! A real Chromium, driven by a program in `browser/driver.mjs` over lines of JSON.

use std::time::Duration;

use serde_json::{Value, json};

use crate::PATIENCE;
use crate::process::Process;
use crate::tools;

/// A headless browser with as many pages as are opened.
#[derive(Debug)]
pub struct Browser {
    driver: Process,
    orders: u64,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A browser is a dozen processes; it ends and reaps them better than we could.
        self.driver.hang_up(Duration::from_secs(5));
    }
}

/// A page that was opened.
#[derive(Debug, Clone, Copy)]
pub struct Page(u64);

impl Browser {
    /// Starts the browser.
    ///
    /// # Panics
    /// When it, Node or the driver's one dependency is not there.
    #[must_use]
    pub fn start() -> Self {
        let folder = tools::repository().join("tests/browser");
        tools::tool(folder.join("node_modules/playwright-core"));
        let mut command = tools::command("node");
        command.arg(folder.join("driver.mjs")).env("SHOTS", tools::artifacts());
        let mut driver = Process::start("browser", &mut command);
        driver.line(r#"{"id":0,"#);
        Self { driver, orders: 0 }
    }

    fn order(&mut self, mut order: Value) -> Result<Value, String> {
        self.orders += 1;
        order["id"] = json!(self.orders);
        self.driver.say(&order.to_string());
        // The driver has its own limit for each order and answers, well or not, soon after it.
        let limit = Duration::from_millis(order["limit_ms"].as_u64().unwrap_or(0)) + PATIENCE;
        let line = self.driver.line_within(&format!(r#"{{"id":{},"#, self.orders), limit);
        let mut answer: Value = serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(format!("{order}: {error}")),
            None => Ok(answer["value"].take()),
        }
    }

    fn done(&mut self, order: Value) -> Value {
        self.order(order).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Opens a page.
    ///
    /// # Panics
    /// When it cannot be loaded.
    pub fn open(&mut self, url: &str) -> Page {
        Page(self.done(json!({"op": "open", "url": url})).as_u64().expect("a page has a number"))
    }

    /// Opens a page in a browser without JavaScript.
    ///
    /// # Panics
    /// When it cannot be loaded.
    pub fn open_without_script(&mut self, url: &str) -> Page {
        let order = json!({"op": "open", "url": url, "script": false});
        Page(self.done(order).as_u64().expect("a page has a number"))
    }

    /// Waits until the visible text of something that matches `selector` holds `text`; returns all of it.
    ///
    /// # Panics
    /// When it does not within `limit`: with the page's text and a screenshot in `target/artifacts`.
    pub fn wait_for(&mut self, page: Page, selector: &str, text: &str, limit: Duration) -> String {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let order =
            json!({"op": "wait", "page": page.0, "selector": selector, "text": text, "limit_ms": limit_ms});
        self.done(order).as_str().unwrap_or_default().into()
    }

    /// The visible text of all that matches `selector`, one item each.
    ///
    /// # Panics
    /// When the page is gone.
    pub fn texts(&mut self, page: Page, selector: &str) -> Vec<String> {
        let value = self.done(json!({"op": "texts", "page": page.0, "selector": selector}));
        serde_json::from_value(value).expect("a list of texts")
    }

    /// How long, in ms, the page said "Loading" at a stretch, at most; since it was opened.
    ///
    /// # Panics
    /// When the page is gone.
    pub fn longest_loading(&mut self, page: Page) -> Duration {
        let ms = self.done(json!({"op": "loading", "page": page.0}));
        Duration::from_millis(ms.as_f64().expect("a number").max(0.0) as u64)
    }

    /// What the page's console reported as errors, network failures apart.
    ///
    /// # Panics
    /// When the page is gone.
    pub fn complaints(&mut self, page: Page) -> Vec<String> {
        let value = self.done(json!({"op": "complaints", "page": page.0}));
        serde_json::from_value(value).expect("a list of texts")
    }

    /// Cuts the page's network, as a laptop that loses its Wi-Fi.
    ///
    /// # Panics
    /// When the page is gone.
    pub fn go_offline(&mut self, page: Page) {
        drop(self.done(json!({"op": "offline", "page": page.0, "on": true})));
    }

    /// Mends the page's network.
    ///
    /// # Panics
    /// When the page is gone.
    pub fn go_online(&mut self, page: Page) {
        drop(self.done(json!({"op": "offline", "page": page.0, "on": false})));
    }

    /// Keeps a picture of the page as `target/artifacts/NAME.png`.
    ///
    /// # Panics
    /// When the page is gone.
    pub fn picture(&mut self, page: Page, name: &str) {
        drop(self.done(json!({"op": "picture", "page": page.0, "name": name})));
    }
}
