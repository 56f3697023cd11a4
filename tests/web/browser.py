"""A real browser before a real server: what it shows, and what it must never do."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
NONE_HERE = (
    "NO CHROMIUM ON THIS MACHINE, the pages were tried in no browser: `apt-get install chromium`"
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE_MILLISECONDS = 30_000
MEANT = (
    "Failed to load resource",  # of an answer of 4xx
    *("htmx:sendAbort", "htmx:afterRequest"),  # of a request that a newer one has replaced
)
POLICY_BROKEN = "the policy forbids"
TELL_OF_THE_POLICY = f"""document.addEventListener("securitypolicyviolation", (event) => {{
  console.error("{POLICY_BROKEN}", event.violatedDirective, event.sourceFile, event.lineNumber);
}})"""
SERIOUS = ("serious", "critical")
IMAGES = Path(__file__).parent.parent.parent / "docs" / "img"

Scheme = Literal["light", "dark"]


@dataclass
class Watched:
    """A page of the browser, with everything in it that nobody wants to see."""

    page: Page
    address: str
    faults: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        """Go to a page of the server."""
        self.page.goto(f"{self.address}{path}")

    def assert_clean(self) -> None:
        """No error in the console, no report of the policy, no request to anywhere else."""
        assert self.faults == [], self.faults

    def serious(self) -> list[str]:
        """What axe-core calls serious or worse, by rule, with the elements at fault."""
        results = Axe().run(self.page).response
        found: list[str] = []
        for violation in results["violations"]:
            if violation["impact"] in SERIOUS:
                targets = [str(node["target"]) for node in violation["nodes"]]
                found.append(f"{violation['id']}: {', '.join(targets)}")
        return found

    def picture(self, name: str) -> None:
        """Keep what is shown among the pictures of the documentation, where `make pictures` asks for them."""
        if "PICTURES" not in os.environ:
            return
        IMAGES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=IMAGES / f"{name}.png")


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser without a window."""
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watched(
    browser: Browser, address: str, width: int = 1440, scheme: Scheme = "light", **options: Any
) -> Iterator[Watched]:
    """A window of its own, with no cookies, of this width in pixels."""
    height = 844 if width < 600 else 900
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, **options
    )
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    context.add_init_script(TELL_OF_THE_POLICY)
    page = context.new_page()
    seen = Watched(page, address)
    own = urlsplit(address).netloc

    def note_request(request: Any) -> None:
        target = urlsplit(request.url)
        if target.scheme in ("http", "https") and target.netloc != own:
            seen.faults.append(f"asked {request.url}")

    def note_message(message: Any) -> None:
        is_meant = any(words in message.text for words in MEANT)
        if "Content Security Policy" in message.text:
            seen.faults.append(message.text)  # of whatever level
        elif message.type in ("error", "warning") and not is_meant:
            seen.faults.append(message.text)

    page.on("request", note_request)
    page.on("console", note_message)
    page.on("pageerror", lambda error: seen.faults.append(str(error)))
    try:
        yield seen
    finally:
        context.close()
