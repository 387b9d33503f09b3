//! Headless Chromium, driven through chromedriver. All host names under `.example` and `.localhost` lead to 127.0.0.1; only certificates of
//! the given test authority are accepted, and nothing is reached outside loopback.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use super::pki::Pki;
use super::ports::free_port;
use super::process::{Process, Signal, temp_dir};
use super::wait::wait_until;

const PROGRAM: &str = "/usr/bin/chromedriver";
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long a page may take to show what a test waits for.
const PAGE_DEADLINE: Duration = Duration::from_secs(20);
const HEIGHT: u32 = 800;
/// Where `scripts/test` puts axe-core.
const AXE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../axe/axe.min.js");

/// A browser with an empty profile.
pub struct Chromium {
    /// For what the methods below do not cover.
    pub client: Client,
    _process: Process,
    _dir: tempfile::TempDir,
}

impl Chromium {
    pub async fn start(pki: &Pki) -> Self {
        let dir = temp_dir("chromium");
        let port = free_port();
        let mut command = Command::new(PROGRAM);
        command.arg(format!("--port={port}")).env("HOME", dir.path()).env("TMPDIR", dir.path());
        let mut process =
            Process::spawn(&mut command, &dir.path().join("chromedriver.log"), Signal::Terminate, Some(dir.path()));
        wait_until("chromedriver to listen", START_DEADLINE, || {
            assert!(process.is_running(), "chromedriver ended: {}", process.log());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities(dir.path(), pki))
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap_or_else(|error| panic!("no browser session: {error}: {}", process.log()));
        Self { client, _process: process, _dir: dir }
    }

    pub async fn goto(&self, url: &str) {
        self.client.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    pub async fn url(&self) -> url::Url {
        self.client.current_url().await.expect("the browser answers")
    }

    /// The text that a person sees on the page.
    pub async fn text(&self) -> String {
        self.find("body").await.text().await.expect("the browser answers")
    }

    /// Waits for an element by CSS selector.
    pub async fn find(&self, css: &str) -> fantoccini::elements::Element {
        let found = self.client.wait().at_most(PAGE_DEADLINE).for_element(Locator::Css(css)).await;
        match found {
            Ok(element) => element,
            Err(error) => {
                let (url, source) = (self.url().await, self.client.source().await.unwrap_or_default());
                panic!("no {css} at {url}: {error}: {source}")
            }
        }
    }

    /// Types into a field, after emptying it.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.expect("a field that can be emptied");
        field.send_keys(text).await.expect("a field that can be typed into");
    }

    pub async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Waits until the browser is at a URL with this beginning, through any number of redirects and self-posting pages.
    pub async fn wait_for_url(&self, prefix: &str) {
        let start = std::time::Instant::now();
        loop {
            let url = self.url().await;
            if url.as_str().starts_with(prefix) {
                return;
            }
            assert!(start.elapsed() < PAGE_DEADLINE, "waited for {prefix}, is at {url}: {}", self.text().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sets the width of the page in CSS pixels, below Chromium's smallest window too. Narrow means a phone, which shows a
    /// page without a viewport setting as if it were 980 pixels wide.
    pub async fn set_width(&self, width: u32) {
        let metrics = json!({ "width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Writes the whole page, at this width, as a PNG file.
    pub async fn screenshot(&self, width: u32, file: &Path) {
        self.set_width(width).await;
        let shot =
            self.devtools("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true })).await;
        let png = STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("base64");
        std::fs::create_dir_all(file.parent().expect("a file in a folder")).expect("folder for pictures");
        std::fs::write(file, png).expect("picture can be written");
    }

    /// Whether the page is wider than the browser, so that a person has to scroll sideways.
    pub async fn scrolls_sideways(&self) -> bool {
        let wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
        self.evaluate(wider).await.as_bool().expect("a truth value")
    }

    /// Runs axe-core on the page: one line per violation, with rule and elements.
    pub async fn axe_violations(&self) -> Vec<String> {
        let axe =
            std::fs::read_to_string(AXE).unwrap_or_else(|error| panic!("{AXE}: {error}; scripts/test fetches it"));
        self.evaluate(&format!("{axe}\n;0")).await;
        let result = self.evaluate("axe.run(document).then(result => result.violations)").await;
        let violations = result.as_array().expect("a list of violations");
        violations.iter().map(describe).collect()
    }

    /// Evaluates a script in the page, awaiting a promise. The page's content security policy does not bind it.
    pub async fn evaluate(&self, script: &str) -> Value {
        let params = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let answer = self.devtools("Runtime.evaluate", params).await;
        assert!(answer.get("exceptionDetails").is_none(), "script failed: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, command: &str, params: Value) -> Value {
        let command = DevTools { body: json!({ "cmd": command, "params": params }).to_string() };
        self.client.issue_cmd(command).await.expect("the browser answers")
    }

    /// What the browser's console has shown since the last call, such as violations of a content security policy.
    pub async fn console(&self) -> Vec<String> {
        let entries = self.client.issue_cmd(ConsoleLog).await.expect("the browser answers");
        let entries = entries.as_array().expect("a list of entries");
        entries.iter().filter_map(|entry| entry["message"].as_str()).map(str::to_owned).collect()
    }
}

fn capabilities(dir: &Path, pki: &Pki) -> fantoccini::wd::Capabilities {
    let args = [
        "--headless=new".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-quic".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--no-first-run".to_owned(),
        "--no-proxy-server".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
        "--disable-breakpad".to_owned(),
        "--lang=en".to_owned(),
        // The partner speaks plain HTTP; without this the browser first tries HTTPS there.
        "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,Translate".to_owned(),
        "--host-resolver-rules=MAP *.example 127.0.0.1, MAP *.localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
            .to_owned(),
        format!("--ignore-certificate-errors-spki-list={}", pki.spki_hash()),
        format!("--user-data-dir={}", dir.join("profile").display()),
    ];
    let options = json!({ "args": args, "binary": "/usr/bin/chromium" });
    let insecure = Value::Bool(false);
    serde_json::Map::from_iter([
        ("goog:chromeOptions".to_owned(), options),
        ("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" })),
        ("acceptInsecureCerts".to_owned(), insecure),
    ])
}

fn describe(violation: &Value) -> String {
    let nodes = violation["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let elements: Vec<&str> = nodes.iter().filter_map(|node| node["html"].as_str()).collect();
    format!("{}: {}: {}", violation["id"], violation["help"], elements.join(" | "))
}

/// chromedriver's own command that passes one on to the DevTools protocol.
#[derive(Debug)]
struct DevTools {
    body: String,
}

impl fantoccini::wd::WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base_url: &url::Url, session_id: Option<&str>) -> Result<url::Url, url::ParseError> {
        base_url.join(&format!("session/{}/goog/cdp/execute", session_id.unwrap_or_default()))
    }

    fn method_and_body(&self, _request_url: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.clone()))
    }
}

/// chromedriver's own command for the browser's console.
#[derive(Debug)]
struct ConsoleLog;

impl fantoccini::wd::WebDriverCompatibleCommand for ConsoleLog {
    fn endpoint(&self, base_url: &url::Url, session_id: Option<&str>) -> Result<url::Url, url::ParseError> {
        base_url.join(&format!("session/{}/se/log", session_id.unwrap_or_default()))
    }

    fn method_and_body(&self, _request_url: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({ "type": "browser" }).to_string()))
    }
}
