#!/usr/bin/env python3
"""How long pages of a built site take in Chromium until they can be used, from files.

Usage: scripts/measure-browser.py FOLDER_OF_A_VERSION [LOADS]; needs chromium and chromedriver on PATH. An archive of
10,000 benchmarks to build it from: `cargo run --release -p sitegen --example large_archive -- DIR 100 100`.

Interactive is what is last of: first contentful paint, the end of DOMContentLoaded, the end of the last task of 50 ms or
more. Medians and the range of LOADS loads (5), each from an empty page."""
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

PAGES = ["index.html", "benchmarks/index.html", "benchmarks/index.html#?q=valid&sort=6d", "campaigns/index.html",
         "compare/index.html", "trends/index.html"]
WATCH = """window.longTasks = [];
new PerformanceObserver(list => list.getEntries().forEach(one => longTasks.push(one.startTime + one.duration)))
  .observe({ type: 'longtask', buffered: true });"""
INTERACTIVE = """const page = performance.getEntriesByType('navigation')[0];
const paint = performance.getEntriesByName('first-contentful-paint')[0];
return Math.max(page.domContentLoadedEventEnd, paint ? paint.startTime : 0, ...longTasks);"""
# Time from an input to the frame after it.
INPUTS = """const done = arguments[0], filter = document.getElementById('filter'), times = [];
function step(act, next) {
  const start = performance.now();
  act();
  requestAnimationFrame(() => setTimeout(() => { times.push(performance.now() - start); next(); }));
}
function write(text) { filter.value = text; filter.dispatchEvent(new Event('input')); }
const heading = document.querySelectorAll('#all th')[6];
step(() => write('valid'), () => step(() => write(''), () =>
  step(() => (heading.querySelector('button') || heading).click(), () => done(times))));"""


def call(port, path, body):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["value"]


def main():
    if len(sys.argv) < 2:
        sys.exit("error: usage: scripts/measure-browser.py FOLDER_OF_A_VERSION [LOADS]")
    folder = subprocess.run(["realpath", sys.argv[1]], capture_output=True, text=True, check=True).stdout.strip()
    loads = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    session = None
    try:
        port = next(found[1] for line in driver.stdout if (found := re.search(r"successfully on port (\d+)", line)))
        profile = tempfile.mkdtemp()
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]
        options = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}}
        session = f"/session/{call(port, '/session', {'capabilities': {'alwaysMatch': options}})['sessionId']}"
        say = lambda command, body: call(port, session + command, body)
        say("/goog/cdp/execute", {"cmd": "Page.addScriptToEvaluateOnNewDocument", "params": {"source": WATCH}})
        for page in PAGES:
            times = []
            for _ in range(loads):
                say("/url", {"url": "about:blank"})
                say("/url", {"url": f"file://{folder}/{page}"})
                time.sleep(1)
                times.append(say("/execute/sync", {"script": INTERACTIVE, "args": []}))
            print(f"{page:<42} {statistics.median(times):6.0f} ms  ({min(times):.0f} to {max(times):.0f})")
        say("/url", {"url": f"file://{folder}/benchmarks/index.html"})
        time.sleep(1)
        times = say("/execute/async", {"script": INPUTS, "args": []})
        print("the list: filter, no filter, sort: " + ", ".join(f"{one:.0f} ms" for one in times))
    finally:
        if session:
            delete = urllib.request.Request(f"http://127.0.0.1:{port}{session}", method="DELETE")
            urllib.request.urlopen(delete, timeout=30).close()
        driver.terminate()
        driver.wait()


main()
