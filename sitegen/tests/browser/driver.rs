//! A browser, driven by the WebDriver protocol over a plain socket: open a page, run a script, read what was logged.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

/// Chromium without a window. Ended with its driver when dropped.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub fn start() -> Self {
        let missing = |program: &str| {
            format!("`{program}` is not on PATH: install the Debian packages chromium and chromium-driver")
        };
        let chromium = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| is_on_path(name));
        let chromium = chromium.unwrap_or_else(|| panic!("{}", missing("chromium")));
        let mut driver = Command::new("chromedriver")
            .args(["--port=0", "--allowed-ips=127.0.0.1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|err| panic!("{err}: {}", missing("chromedriver")));
        let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
        // "ChromeDriver was started successfully on port 41234."
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok())
            .expect("chromedriver names its port");
        // The pipe must not fill up.
        std::thread::spawn(move || lines.for_each(drop));

        let profile = tempfile::tempdir().expect("temporary folder");
        let mut browser = Self { driver, port, session: String::new(), _profile: profile };
        let profile = browser._profile.path().display().to_string();
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,1600",
            &format!("--user-data-dir={profile}"),
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "unhandledPromptBehavior": "ignore",
            "goog:chromeOptions": { "args": arguments, "binary": path_of(chromium) },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let session = browser.call("POST", "/session", &capabilities);
        browser.session = format!("/session/{}", session["sessionId"].as_str().expect("a session"));
        browser.command("/timeouts", json!({ "script": 30_000 }));
        // Away from the browser's own start page.
        browser.command("/url", json!({ "url": "data:text/html," }));
        browser
    }

    pub fn open(&mut self, page: &Path) {
        self.command("/url", json!({ "url": format!("file://{}", page.display()) }));
    }

    /// Opens an address, also one with state in it.
    #[allow(dead_code, reason = "not every test needs an address")]
    pub fn go(&mut self, url: &str) {
        self.command("/url", json!({ "url": url }));
    }

    /// Types into what has the focus; WebDriver's code points stand for keys without a letter.
    #[allow(dead_code, reason = "not every test types")]
    pub fn keys(&mut self, text: &str) {
        let press = |c: char| {
            [json!({ "type": "keyDown", "value": c.to_string() }), json!({ "type": "keyUp", "value": c.to_string() })]
        };
        let actions: Vec<Value> = text.chars().flat_map(press).collect();
        self.command("/actions", json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] }));
    }

    /// Pages opened from now on run no scripts of their own.
    #[allow(dead_code, reason = "not every test goes without")]
    pub fn without_scripts(&mut self) {
        let params = json!({ "value": true });
        self.command("/goog/cdp/execute", json!({ "cmd": "Emulation.setScriptExecutionDisabled", "params": params }));
    }

    /// Elements that a CSS selector finds, asked without a script.
    #[allow(dead_code, reason = "not every test counts")]
    pub fn count(&mut self, selector: &str) -> usize {
        let found = self.command("/elements", json!({ "using": "css selector", "value": selector }));
        found.as_array().map_or(0, Vec::len)
    }

    /// Runs a script to its `return`.
    pub fn run(&mut self, script: &str) -> Value {
        self.command("/execute/sync", json!({ "script": script, "args": [] }))
    }

    /// Runs a script until it calls its last argument.
    pub fn wait_for(&mut self, script: &str) -> Value {
        self.command("/execute/async", json!({ "script": script, "args": [] }))
    }

    pub fn resize(&mut self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true });
        self.command("/goog/cdp/execute", json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics }));
    }

    /// Shows pages as on another medium, or to people with other wishes.
    pub fn media(&mut self, params: Value) {
        self.command("/goog/cdp/execute", json!({ "cmd": "Emulation.setEmulatedMedia", "params": params }));
    }

    /// Everything that pages logged since the last call, and every request that left the machine's files.
    pub fn complaints(&mut self) -> Vec<String> {
        let logged = self.command("/se/log", json!({ "type": "browser" }));
        let mut complaints: Vec<String> = logged
            .as_array()
            .expect("a log")
            .iter()
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            .collect();
        let events = self.command("/se/log", json!({ "type": "performance" }));
        let mut requests = 0;
        for event in events.as_array().expect("a log") {
            let event: Value = serde_json::from_str(event["message"].as_str().expect("an event")).expect("JSON");
            let of_a_page = |params: &Value| {
                params["documentURL"].as_str().is_some_and(|document| !document.starts_with("chrome://"))
            };
            if event["message"]["method"] != "Network.requestWillBeSent" || !of_a_page(&event["message"]["params"]) {
                continue;
            }
            requests += 1;
            let url = event["message"]["params"]["request"]["url"].as_str().expect("a URL");
            if !url.starts_with("file://") && !url.starts_with("data:") {
                complaints.push(format!("requested {url}"));
            }
        }
        assert!(requests > 0, "a page was opened, so requests must have been seen");
        complaints
    }

    fn command(&mut self, path: &str, body: Value) -> Value {
        self.call("POST", &format!("{}{path}", self.session), &body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("chromedriver listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
        let body = body.to_string();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("sent");
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a header");
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).expect("a body");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        if let Some(error) = answer["value"]["error"].as_str() {
            panic!("{method} {path}: {error}: {}", answer["value"]["message"].as_str().unwrap_or_default());
        }
        answer["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ending the session ends Chromium; a driver that does not answer any more is only killed.
        if !self.session.is_empty()
            && let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port))
        {
            let head = format!("DELETE {} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", self.session);
            _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            _ = stream.write_all(head.as_bytes());
            _ = stream.read(&mut [0; 1024]);
        }
        _ = self.driver.kill();
        _ = self.driver.wait();
    }
}

fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn path_of(program: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    found.expect("found before").display().to_string()
}
