"""A browser for all tests of this folder, and a page for each."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from serve_app.config import Ingress
from tests.serve_app.console.browsing import Console, served
from tests.serve_app.samples import System, api

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TIMEOUT_MS = 20_000
"""Generous: browser, server and engines may share two cores."""

Open = Callable[..., Console]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium: this machine's, or playwright's own. Without one there is nothing to test with."""
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        path = next(filter(None, map(shutil.which, NAMES)), own)
        if not Path(path).exists():
            pytest.skip(f"no browser: none of {', '.join(NAMES)}, and no {own}")
        running = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def faults() -> list[str]:
    """What a page loads from elsewhere and complains of; empty in the end."""
    return []


@pytest.fixture
def page(browser: Browser, faults: list[str]) -> Iterator[Page]:
    """A page that remembers nothing of another."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
    page.on("console", lambda said: faults.append(said.text) if _is_fault(said.type, said.text) else None)
    page.on("request", lambda asked: faults.append(asked.url) if not _is_here(asked.url) else None)
    yield page
    context.close()
    assert faults == []


def _is_fault(kind: str, text: str) -> bool:
    # A refused request is shown on the page, and the browser logs it besides.
    return kind == "error" and not text.startswith("Failed to load resource")


def _is_here(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "data:", "blob:"))


@pytest.fixture
def open_console(page: Page) -> Iterator[Open]:
    """Return what serves a system and opens its console in the page."""
    with ExitStack() as servers:

        def open_one(parts: System, limits: Ingress | None = None) -> Console:
            url = servers.enter_context(served(api(parts, limits=limits)))
            page.goto(f"{url}/console/")
            page.locator("#server:not(:empty)").wait_for()
            return Console(page, parts)

        yield open_one
