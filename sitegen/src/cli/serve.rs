//! `sitegen serve`: the site at an address of this machine, built again when the archive changes.
//!
//! Reachable from this machine only, for reading only; what it builds is a preview, and goes when it ends.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Component, Path, PathBuf},
    process::ExitCode,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    index::Index,
    load,
    make::{Order, write_version},
    objects,
    theme::Theme,
};

/// Name of the version that is served.
const PREVIEW: &str = "preview";

/// Bytes of a request's head that are read.
const MOST_HEAD: u64 = 16 << 10;

/// How often the archive is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Serves the site of the archive on this machine, and builds it again when the archive or the theme changes; open pages
/// reload.
#[derive(Debug, Args)]
pub struct Serve {
    /// The archive to read.
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// Templates, style sheet and scripts that take the place of the built-in ones of the same name.
    #[arg(long, value_name = "DIR")]
    theme: Option<PathBuf>,
    /// Port on 127.0.0.1; a free one is chosen when it is 0.
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    port: u16,
}

/// Why serving ends.
enum End {
    Asked,
    Failed(anyhow::Error),
}

/// The folder of the preview; removed with it.
struct Preview(PathBuf);

impl Drop for Preview {
    fn drop(&mut self) {
        // A build that is under way may write into it until this process ends.
        if fs::remove_dir_all(&self.0).is_err() {
            _ = fs::remove_dir_all(&self.0);
        }
    }
}

impl Serve {
    pub fn execute(self) -> Result<ExitCode> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))
            .with_context(|| format!("cannot listen on port {}: choose another with --port", self.port))?;
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen to signals")?;
        let preview = Preview(std::env::temp_dir().join(format!("sitegen-serve-{}", std::process::id())));
        let (end, ended) = mpsc::channel();
        let asked = end.clone();
        // Whoever receives it may be gone already.
        std::thread::spawn(move || signals.forever().for_each(|_| _ = asked.send(End::Asked)));
        let out = preview.0.clone();
        std::thread::spawn(move || _ = self.run(&listener, &out).map_err(|err| end.send(End::Failed(err))));
        match ended.recv() {
            Ok(End::Failed(err)) => Err(err),
            Ok(End::Asked) | Err(_) => Ok(ExitCode::SUCCESS),
        }
    }

    fn run(self, listener: &TcpListener, out: &Path) -> Result<()> {
        self.build(out)?;
        println!("http://{}/{PREVIEW}/index.html", listener.local_addr()?);
        eprintln!("rebuilt when {} changes; Ctrl-C ends it", self.results.display());
        let builds = AtomicU64::new(1);
        std::thread::scope(|scope| {
            scope.spawn(|| self.watch(out, &builds));
            for stream in listener.incoming().flatten() {
                let builds = &builds;
                // A reader that goes away is its own matter.
                scope.spawn(move || _ = answer(stream, out, builds));
            }
        });
        Ok(())
    }

    fn build(&self, out: &Path) -> Result<()> {
        let index = Index::open(out, objects::program()?)?;
        let contents = load::load(&self.results, &index)?;
        let theme = Theme::load(self.theme.as_deref())?;
        let (results, version) = (self.results.as_path(), PREVIEW);
        // What was made before stays, also when this build fails.
        write_version(
            &contents,
            Order { results, index: &index, theme, version, base_url: None, out, replaces: true },
        )?;
        index.keep()
    }

    fn watch(&self, out: &Path, builds: &AtomicU64) {
        let mut known = self.state();
        loop {
            std::thread::sleep(LOOK_EVERY);
            let now = self.state();
            if now == known {
                continue;
            }
            known = now;
            match self.build(out) {
                Ok(()) => {
                    builds.fetch_add(1, Ordering::Relaxed);
                    eprintln!("rebuilt");
                }
                // A benchmark may be half there; the next look sees it whole.
                Err(err) => eprintln!("not rebuilt: {err:#}"),
            }
        }
    }

    /// What changes when benchmarks or the theme do: names, sizes and times.
    fn state(&self) -> Vec<(PathBuf, u64, Option<std::time::SystemTime>)> {
        let mut state = Vec::new();
        let mut look = |path: PathBuf| {
            if let Ok(facts) = fs::metadata(&path) {
                state.push((path, facts.len(), facts.modified().ok()));
            }
        };
        for entry in fs::read_dir(&self.results).into_iter().flatten().flatten() {
            look(entry.path().join("manifest.json"));
        }
        let theme = self.theme.as_deref().and_then(|theme| crate::theme::files_below(theme).ok());
        theme.into_iter().flatten().for_each(|(_, path)| look(path));
        state.sort();
        state
    }
}

fn answer(mut stream: TcpStream, root: &Path, builds: &AtomicU64) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut head = BufReader::new((&stream).take(MOST_HEAD));
    let mut line = String::new();
    head.read_line(&mut line)?;
    let mut words = line.split_ascii_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut host = String::new();
    loop {
        let mut header = String::new();
        if head.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some((_, value)) = header.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("host")) {
            host = value.trim().to_owned();
        }
    }
    // A page elsewhere whose name was made to lead here must not read what is served.
    let is_local = ["127.0.0.1", "localhost"].contains(&host.split(':').next().unwrap_or_default());
    let (status, kind, bytes) = match (method, is_local) {
        ("GET", true) => content(target, root, builds.load(Ordering::Relaxed)),
        (_, false) => ("403 Forbidden", "text/plain", b"for this machine only\n".to_vec()),
        _ => ("405 Method Not Allowed", "text/plain", b"read only\n".to_vec()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        bytes.len()
    )?;
    stream.write_all(&bytes)?;
    Ok(())
}

/// Status, type and bytes for a request's target. Pages get a script that reloads them after a build.
fn content(target: &str, root: &Path, builds: u64) -> (&'static str, &'static str, Vec<u8>) {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    match path {
        "/serve/build.js" => {
            return ("200 OK", "text/javascript", format!("siteServed({builds});\n").into_bytes());
        }
        "/serve/reload.js" => return ("200 OK", "text/javascript", RELOAD.as_bytes().to_vec()),
        _ => {}
    }
    let Ok(file) = file_of(path, root) else {
        return ("404 Not Found", "text/plain", b"there is no such page\n".to_vec());
    };
    let Ok(mut bytes) = fs::read(&file) else {
        return ("404 Not Found", "text/plain", b"there is no such page\n".to_vec());
    };
    let kind = match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("xml") => "application/xml",
        _ => "text/plain; charset=utf-8",
    };
    if kind.starts_with("text/html") {
        bytes.extend_from_slice(b"<script src=\"/serve/reload.js\"></script>\n");
    }
    ("200 OK", kind, bytes)
}

/// Asks by script, since the pages' policy allows no other request.
const RELOAD: &str = "\
(function () {
  var first;
  window.siteServed = function (build) { if (first === undefined) first = build; else if (build !== first) location.reload(); };
  (function ask() {
    var script = document.createElement('script');
    script.src = '/serve/build.js?' + Date.now();
    script.onload = script.onerror = function () { script.remove(); setTimeout(ask, 1000); };
    document.head.append(script);
  })();
})();
";

/// The file of a path below the root, never above it.
fn file_of(path: &str, root: &Path) -> Result<PathBuf> {
    let mut plain = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let digits = [bytes.next().unwrap_or_default(), bytes.next().unwrap_or_default()];
                u8::from_str_radix(std::str::from_utf8(&digits)?, 16)?
            }
            byte => byte,
        });
    }
    let relative = PathBuf::from(String::from_utf8(plain)?.trim_start_matches('/'));
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        bail!("leads out of the site");
    }
    let file = root.join(relative);
    Ok(if file.is_dir() { file.join("index.html") } else { file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_below_the_root_are_served() {
        let root = tempfile::tempdir().expect("temporary folder");
        let site = root.path().join("site");
        fs::create_dir_all(site.join("a")).expect("created");
        fs::write(site.join("a/index.html"), "<p>").expect("written");
        fs::write(root.path().join("secret"), "no").expect("written");
        for (target, status) in [
            ("/a/index.html", "200 OK"),
            ("/a/", "200 OK"),
            ("/a/index.html?x=1", "200 OK"),
            ("/%61/index.html", "200 OK"),
            ("/serve/build.js?7", "200 OK"),
            ("/../secret", "404 Not Found"),
            ("/%2e%2e/secret", "404 Not Found"),
            ("/a/%2e%2e/%2e%2e/secret", "404 Not Found"),
            ("//etc/passwd", "404 Not Found"),
            ("/%zz", "404 Not Found"),
            ("/gone.html", "404 Not Found"),
        ] {
            assert_eq!(content(target, &site, 1).0, status, "{target}");
        }
        let (_, kind, bytes) = content("/a/", &site, 1);
        assert!(kind.starts_with("text/html") && bytes.ends_with(b"</script>\n"));
    }
}
