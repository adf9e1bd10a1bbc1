"""A page as a browser sees it: errors, requests, pictures, and whether it is too wide for a phone."""

import json
import re
import shutil
import subprocess

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)

TRIAL = """<!doctype html><meta charset="utf-8">
<iframe src="page.html" style="width:WIDTHpx;height:900px;border:0"></iframe><pre id="found"></pre>
<script>
addEventListener("load", () => {
  const view = document.querySelector("iframe").contentWindow;
  const page = view.document;
  const root = page.documentElement;
  const wide = [...page.querySelectorAll("body *")].filter(element =>
    !element.closest(".wide") && !element.closest("svg")
    && element.getBoundingClientRect().right > view.innerWidth + 1);
  const scrolls = [...page.querySelectorAll(".wide")].filter(element =>
    element.scrollWidth > element.clientWidth + 1);
  const found = {
    overflow: root.scrollWidth - view.innerWidth,
    wide: wide.map(element => element.outerHTML.slice(0, 80)),
    requests: view.performance.getEntriesByType("resource").map(entry => entry.name)
      .filter(name => !name.startsWith("data:")),
    pictures: [...page.images].map(image => image.complete && image.naturalWidth > 0),
    alts: [...page.images].map(image => image.alt.length),
    targets: [...page.querySelectorAll("nav a")].map(link =>
      page.querySelector(link.getAttribute("href")) !== null),
    reachable: scrolls.map(element => element.tabIndex === 0
      || element.querySelector("input, button") !== null),
  };
  document.getElementById("found").textContent = JSON.stringify(found);
});
</script>
"""


def seen(folder, width):
    """What a browser of a width, in pixels, finds on folder/page.html; fails on a console error."""
    (folder / "trial.html").write_text(TRIAL.replace("WIDTH", str(width)), encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={folder / 'user'}", "--allow-file-access-from-files"]
    command += ["--virtual-time-budget=5000", "--dump-dom", (folder / "trial.html").as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    said = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    assert said == []
    return json.loads(re.search(r'id="found">(.*?)</pre>', ran.stdout, flags=re.S)[1])
