"""Headless Chromium of the machine: pages laid out at widths and measured by a script, and printed."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium in PATH to lay the page out")

# What is measured of each page, as it opens and after everything is unfolded.
_PROBE = r"""<script>
const BOX = 1.5;  // pixels that rounding may take
const UNBROKEN = /[+\u2212]?\d[\d.,\u202f\u00a0-]*(?:\u00a0?%|\u00a0\p{L}+)?|\p{L}{2,}/gu;
const shownOf = page => [...page.querySelectorAll("body *")].filter(e => e.checkVisibility()
  && e.getBoundingClientRect().width > 0 && !e.closest(".unseen"));
// A number is broken where its characters stand on more than one line; codes and paths may be.
const broken = (page, root) => {
  const found = [], walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  for (let node; node = walker.nextNode();) {
    const parent = node.parentElement;
    if (!parent.checkVisibility() || parent.closest(".code, style, title")) continue;
    for (const match of node.data.matchAll(UNBROKEN)) {
      // A word that is longer than any line has to be broken somewhere.
      if (match[0].length > 28) continue;
      const range = page.createRange();
      range.setStart(node, match.index);
      range.setEnd(node, match.index + match[0].length);
      const tops = [...range.getClientRects()].filter(r => r.width > 0.5).map(r => Math.round(r.top));
      if (tops.some(top => Math.abs(top - tops[0]) > 3)) found.push(match[0]);
    }
  }
  return found;
};
// Wider than its box: it sticks out of the page, or of the box that clips it without scrolling.
const beyond = (page, root) => {
  const view = page.defaultView, found = [];
  for (const e of shownOf(page)) {
    const own = e.getBoundingClientRect();
    if (e.ownerSVGElement) {
      const box = e.ownerSVGElement.getBoundingClientRect();
      const out = own.right > box.right + BOX || own.left < box.left - BOX;
      if (e.tagName === "text" && out) found.push(e.outerHTML.slice(0, 120));
      continue;
    }
    let box = e.parentElement, scrolls = false;
    for (; box; box = box.parentElement) {
      const overflow = view.getComputedStyle(box).overflowX;
      if (overflow === "auto" || overflow === "scroll") { scrolls = true; break; }
    }
    if (!scrolls && (own.right > root.clientWidth + BOX || own.left < -BOX)) found.push(e.outerHTML.slice(0, 120));
    if (scrolls ? false : e.scrollWidth > e.clientWidth + 2 && e.clientWidth > 0
        && view.getComputedStyle(e).overflowX === "visible" && view.getComputedStyle(e).display !== "inline")
      found.push(e.outerHTML.slice(0, 120));
  }
  return found;
};
const measured = (page, root) => ({
  height: root.scrollHeight, scroll: root.scrollWidth, beyond: beyond(page, root), broken: broken(page, root),
  pictures: shownOf(page).filter(e => e.tagName === "svg").length,
});
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, root = page.documentElement;
    const folded = measured(page, root);
    page.querySelectorAll("details").forEach(e => e.open = true);
    return {
      name: frame.dataset.name, width: root.clientWidth, folded, open: measured(page, root), title: page.title,
      scripts: page.scripts.length, paper: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
      loads: frame.contentWindow.performance.getEntriesByType("resource").length,
    };
  });
  document.getElementById("found").textContent = JSON.stringify(found);
});
</script>"""


def laid_out(
    folder: Path, pages: Mapping[str, str], widths: Iterable[int], dark: bool = False
) -> tuple[list[dict[str, Any]], list[str]]:
    """Lay out every page at every width; what was measured, and the lines of the console."""
    frames = "".join(
        f'<iframe data-name="{name}" style="width:{width}px;height:800px;border:0" '
        f'srcdoc="{html.escape(page)}"></iframe>'
        for name, page in pages.items()
        for width in widths
    )
    wrapper = folder / "wrapper.html"
    head = '<!DOCTYPE html><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
    wrapper.write_text(f'{head}{_PROBE}<pre id="found"></pre>{frames}', "utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    done = _run(folder, scheme, "--window-size=1400,900", "--dump-dom", wrapper.as_uri())
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    assert found.group(1), done.stderr[-2000:]
    return json.loads(html.unescape(found.group(1))), [line for line in done.stderr.split("\n") if "CONSOLE" in line]


def printed_pages(folder: Path, page: str, fragment: str = "") -> int:
    """How many sheets the page takes in print; `fragment` is what its address ends in."""
    source, target = folder / "page.html", folder / "page.pdf"
    source.write_text(page, "utf-8")
    done = _run(folder, "--no-pdf-header-footer", f"--print-to-pdf={target}", source.as_uri() + fragment)
    assert target.exists(), done.stderr[-2000:]
    return len(re.findall(rb"/Type /Page\b(?!s)", target.read_bytes()))


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    quiet = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *quiet,
        "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}", *words,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120)
