#!/usr/bin/env python3
"""Pictures of every kind of page of a built site, to look at: on a phone, a laptop and a large screen, light and dark.

Usage: scripts/screenshots.py FOLDER_OF_A_VERSION OUT [KIND...]; needs Debian's chromium and chromium-driver. Writes
OUT/<kind>-<width>-<light|dark>.png, the whole page up to 6,000 pixels high. KIND picks some of the kinds, by their names.
An archive to build a site of: `cargo run -p sitegen --example synthetic_archive -- DIR`."""
import base64
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request

WIDTHS = [(390, 844), (1280, 900), (2560, 1440)]
TALLEST = 6000
# Draws every chart and reads everything that comes from scripts, as a reader who scrolled to the end.
DRAWN = """const done = arguments[0], boxes = Array.from(document.querySelectorAll('figure.chart .canvas'));
let rounds = 0;
(function look() {
  const waiting = boxes.find(box => box.dataset.drawn !== 'yes');
  if (waiting && rounds++ < 200) { waiting.scrollIntoView(); return setTimeout(look, 25); }
  scrollTo(0, 0);
  requestAnimationFrame(() => requestAnimationFrame(() => done([document.documentElement.scrollHeight, document.documentElement.scrollWidth])));
})();"""


def call(port, path, body):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["value"]


def led_to(page):
    """Where a page below `latest/` leads."""
    target = re.search(r'url=([^"]+)"', page.read_text())
    return (page.parent / target[1]).resolve() if target else page


def kinds(site):
    """Name of each kind of page, and one page of it: the largest, which has most to show. Those that versions share are those of the latest."""
    latest = site.parent / "latest"

    def largest(pattern, wanted=lambda page: True):
        pages = [led_to(page) for page in latest.glob(pattern) if wanted(page)]
        return sorted(pages, key=lambda page: page.stat().st_size)[-1:]
    fixed = ["index.html"] + [f"{name}/index.html" for name in (
        "campaigns", "benchmarks", "compare", "trends", "regressions", "services", "reports", "run", "monitoring",
        "docs", "docs/site", "metrics", "cli")]
    found = {}
    for name in fixed:
        key = name.removesuffix("/index.html").removesuffix(".html").replace("/", "-").replace("index", "dashboard")
        page = site / name if (site / name).exists() else latest / name
        if page.exists():
            found[key] = page if page.is_relative_to(site) else led_to(page)
    of_campaign = lambda page: not page.parent.name.startswith("BM-")
    for key, pattern, wanted in (
            ("campaign", "campaigns/*/index.html", of_campaign), ("execution", "campaigns/*/*/index.html", of_campaign),
            ("benchmark", "benchmarks/BM-*/index.html", None), ("trend", "trends/*/index.html", None),
            ("diff", "diffs/*/*/index.html", None), ("report", "reports/BM-*/index.html", None),
            ("report-campaign", "reports/*/index.html", of_campaign)):
        for page in largest(pattern, *([wanted] if wanted else [])):
            found[key] = page
    return found


def main():
    if len(sys.argv) < 3:
        sys.exit("error: usage: scripts/screenshots.py FOLDER_OF_A_VERSION OUT [KIND...]")
    site, out = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    pages = kinds(site)
    if unknown := [name for name in sys.argv[3:] if name not in pages]:
        sys.exit(f"error: no page of {', '.join(unknown)}: this version has {', '.join(pages)}")
    wanted = sys.argv[3:] or list(pages)
    benchmarks = sorted(page.parent.name for page in (site.parent / "latest").glob("benchmarks/BM-*/index.html"))
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    session = None
    try:
        port = next(found[1] for line in driver.stdout if (found := re.search(r"successfully on port (\d+)", line)))
        profile = tempfile.mkdtemp()
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                     f"--user-data-dir={profile}"]
        options = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}}
        session = f"/session/{call(port, '/session', {'capabilities': {'alwaysMatch': options}})['sessionId']}"
        say = lambda command, body: call(port, session + command, body)
        cdp = lambda cmd, params: say("/goog/cdp/execute", {"cmd": cmd, "params": params})
        for width, height in WIDTHS:
            screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
            for theme in ("light", "dark"):
                cdp("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]})
                for name in wanted:
                    cdp("Emulation.setDeviceMetricsOverride", screen)
                    address = pages[name].as_uri()
                    if name == "compare" and len(benchmarks) > 1:
                        address += f"#?a={benchmarks[0]}&b={benchmarks[-1]}"
                    say("/url", {"url": "data:text/html,"})
                    say("/url", {"url": address})
                    tall, wide = say("/execute/async", {"script": DRAWN, "args": []})
                    if wide > width:
                        print(f"{name} at {width}: {wide} pixels wide")
                    cdp("Emulation.setDeviceMetricsOverride", {**screen, "height": min(max(tall, height), TALLEST)})
                    say("/execute/async", {"script": DRAWN, "args": []})
                    picture = out / f"{name}-{width}-{theme}.png"
                    picture.write_bytes(base64.b64decode(cdp("Page.captureScreenshot", {"format": "png"})["data"]))
        print(f"{len(wanted) * len(WIDTHS) * 2} pictures in {out}")
    finally:
        if session:
            delete = urllib.request.Request(f"http://127.0.0.1:{port}{session}", method="DELETE")
            urllib.request.urlopen(delete, timeout=30).close()
        driver.terminate()
        driver.wait()


main()
