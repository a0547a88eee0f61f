"""Open the main pages of the built site in headless Chromium and look at them.

Run by ``make docs-check`` after ``make docs``. At 1300, 1700 and 400 pixels, in light
and dark, it fails on a missing image, a page that is wider than its window, a table
column or a line of code that is cut at a desk's width, an empty page, and on every page
a link within the site that leads nowhere. Without a browser it passes with a message.
"""

import functools
import html
import http.server
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

SITE = Path(__file__).parents[1] / "docs" / "_build" / "html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTHS = (1300, 1700, 400)
CHECKER = """<!doctype html><meta charset="utf-8"><body style="margin:0"><script>
const pages = %s, widths = %s, found = [];
const wait = ms => new Promise(r => setTimeout(r, ms));
function look(page, width, theme, d) {
  const say = text => found.push(`${page} at ${width} (${theme}): ${text}`);
  const article = d.querySelector("article, main") || d.body;
  if (!article || article.innerText.trim().length < 150) say("empty page");
  for (const image of d.images) {
    const hidden = getComputedStyle(image).display === "none";
    if (!hidden && image.complete && !image.naturalWidth)
      say(`missing image ${image.getAttribute("src")}`);
  }
  const root = d.documentElement;
  if (root.scrollWidth > width + 2) say(`page is ${root.scrollWidth} pixels wide`);
  for (const cell of article.querySelectorAll("td"))
    if (cell.scrollWidth > cell.clientWidth + 2 && cell.clientWidth)
      say(`cell cut: ${cell.innerText.slice(0, 50)}`);
  if (width < 1000) return;
  for (const box of d.querySelectorAll(".pst-scrollable-table-container"))
    if (box.scrollWidth > box.clientWidth + 2)
      say(`column cut: ${box.innerText.slice(0, 50).replace(/\\s+/g, " ")}`);
  for (const code of article.querySelectorAll("div.highlight pre"))
    if (code.scrollWidth > code.clientWidth + 2)
      say(`code cut: ${code.innerText.slice(0, 60)}`);
}
(async () => {
  const frame = document.createElement("iframe");
  frame.style.cssText = "border:0;height:1200px";
  document.body.append(frame);
  for (const width of widths) for (const page of pages) {
    const theme = width === 1700 ? "dark" : "light";
    localStorage.setItem("mode", theme);
    localStorage.setItem("theme", theme);
    frame.style.width = width + "px";
    await new Promise(done => { frame.onload = done; frame.src = page; });
    for (const image of frame.contentDocument.images) image.loading = "eager";
    await wait(250);
    look(page, width, theme, frame.contentDocument);
  }
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify({pages: pages.length, found});
  document.body.append(result);
})();
</script>"""


def main_pages():
    """The pages that a reader sees first, and one of each kind of the others."""
    pages = ["index.html", "getting_started.html", "installation.html", "faq.html"]
    pages += ["glossary.html", "changelog.html", "versions.html", "api/index.html"]
    pages += ["auto_examples/index.html"]
    for folder in ("user_guide", "evidence", "development"):
        pages += [str(p.relative_to(SITE)) for p in (SITE / folder).rglob("*.html")]
    for folder in ("api", "api/generated", "auto_examples"):
        found = sorted((SITE / folder).glob("**/*.html"))
        pages += [str(p.relative_to(SITE)) for p in found[:: max(1, len(found) // 6)]]
    return sorted(set(pages))


def broken_links():
    """Links within the site, on every page, that lead nowhere."""
    pages = [
        p for p in SITE.rglob("*.html") if p.relative_to(SITE).parts[0] != "_static"
    ]
    texts = {path: path.read_text() for path in pages}
    anchors = {
        path: set(re.findall(r'\b(?:id|name)="([^"]+)"', text))
        for path, text in texts.items()
    }
    broken = set()
    for path, text in texts.items():
        for link in re.findall(r'\b(?:href|src)="([^"]+)"', text):
            parts = urlsplit(html.unescape(link))
            if parts.scheme or parts.netloc:
                continue
            target = (
                (path.parent / unquote(parts.path)).resolve() if parts.path else path
            )
            if target.is_dir():
                target /= "index.html"
            lost = not target.exists()
            if not lost and parts.fragment and target in anchors:
                lost = unquote(parts.fragment) not in anchors[target]
            if lost:
                broken.add(f"{path.relative_to(SITE)}: broken link {link}")
    return sorted(broken)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serve the site, and the checker beside it, without a log."""

    def log_message(self, *args):
        """Print nothing."""

    def do_GET(self):
        """Answer with the checker, or with a file."""
        if self.path != "/_check.html":
            return super().do_GET()
        body = (CHECKER % (json.dumps(main_pages()), json.dumps(WIDTHS))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)


def look(browser):
    """What the browser finds."""
    handler = functools.partial(Quiet, directory=SITE)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/_check.html"
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        options += [f"--user-data-dir={profile}", "--window-size=1800,1300"]
        options += ["--virtual-time-budget=600000", "--disable-extensions"]
        run = subprocess.run(
            [browser, *options, address],
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )
    server.shutdown()
    result = re.search(r'<pre id="result">(.*?)</pre>', run.stdout, re.DOTALL)
    if result is None:
        sys.exit(f"the browser gave no result:\n{run.stderr[-2000:]}")
    return json.loads(html.unescape(result[1]))


def main():
    """Check links without a browser, and pages with one."""
    if not (SITE / "index.html").exists():
        sys.exit("no site in docs/_build/html: run `make docs` first")
    broken = broken_links()
    print("\n".join(broken) if broken else "no broken link within the site")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print("no Chromium found: pages were not opened")
        sys.exit(bool(broken))
    result = look(browser)
    print("\n".join(result["found"]))
    widths = ", ".join(map(str, WIDTHS))
    print(f"{result['pages']} pages at {widths} pixels: {len(result['found'])} faults")
    sys.exit(bool(broken or result["found"]))


if __name__ == "__main__":
    main()
