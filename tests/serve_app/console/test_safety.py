"""Whatever a model, a server or a name says is text."""

import json
from pathlib import Path

from playwright.sync_api import expect

from serve_app.config import Ingress
from serve_app.ingress.auth import key_hash
from serve_app.types import ReplicaReport
from tests.serve_app.console.browsing import answer, delta, usual
from tests.serve_app.console.conftest import Open
from tests.serve_app.samples import head, system

HOSTILE = (
    "<img src=x onerror=\"window.pwned = 1; alert('pwned')\"><script>window.pwned = 2</script>"
    '<a href="javascript:window.pwned=3">here</a></div></article>'
)
"""In an answer, its reasoning, a call, an error."""


def test_a_hostile_answer(open_console: Open) -> None:
    """Markup in whatever a model says is shown as it stands, and nothing of it runs."""
    call = {
        "index": 0,
        "id": HOSTILE,
        "function": {"name": HOSTILE, "arguments": json.dumps({HOSTILE: HOSTILE})},
    }
    script = answer(
        "l1", delta(reasoning=HOSTILE), delta(content=HOSTILE), delta(tool_calls=[call]), delta("tool_calls")
    )
    console = open_console(system({}, {"l1": script}))
    before = console.page.locator("img, script, a").count()
    console.ask(HOSTILE, "High")
    shown = console.ends()
    expect(shown.locator(".said")).to_have_text(HOSTILE)
    expect(shown.locator("h3 code")).to_have_text(HOSTILE)
    expect(shown.locator(".reasoning .text")).to_have_text(HOSTILE)
    assert console.page.locator("img, script, a").count() == before
    assert console.page.evaluate("window.pwned") is None


def test_hostile_names_and_errors(open_console: Open) -> None:
    """So are the names of replicas, and errors of engines."""
    refused = (head("t1", status=400), json.dumps({"error": {"message": HOSTILE, "code": HOSTILE}}).encode())
    parts = system({HOSTILE: refused})
    parts.backends["throughput"].said = {HOSTILE: ReplicaReport(HOSTILE)}
    console = open_console(parts)
    expect(console.page.locator(".replica code")).to_have_text(HOSTILE)
    before = console.page.locator("img, script, a").count()
    console.ask("Hello")
    expect(console.ends()).to_contain_text(HOSTILE)
    expect(console.page.locator("#decisions code")).to_have_text(HOSTILE)
    assert console.page.locator("img, script, a").count() == before
    assert console.page.evaluate("window.pwned") is None


def test_the_policy_holds(open_console: Open, faults: list[str]) -> None:
    """Markup from a string is impossible on this page, even for its own scripts."""
    console = open_console(usual())
    outcome = console.page.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>'; return 'set'; } catch (e) { return e.name; } }"
    )
    assert outcome == "TypeError"
    assert "requires 'TrustedHTML'" in faults.pop()


def test_keys(open_console: Open, tmp_path: Path) -> None:
    """Without a key the server says what it wants; a tenant may talk, and an operator may watch as well."""
    path = tmp_path / "keys.yaml"
    tenants = [
        {"name": "ops", "keys": [key_hash(b"vk-ops")], "operator": True},
        {"name": "search", "keys": [key_hash(b"vk-search")]},
    ]
    path.write_text(json.dumps({"tenants": tenants}))
    console = open_console(usual(), Ingress.model_validate({"auth": {"keys_file": str(path)}}))
    status = console.page.locator("#server")
    expect(status).to_contain_text("an API key is required")
    expect(console.control("API key")).to_be_focused()

    console.control("API key").fill("vk-search")
    console.button("Use").click()
    expect(status).to_contain_text("Serving mistral-small-4")
    expect(console.page.locator("#pools")).to_contain_text("'search' is not an operator")
    console.ask("17 + 25?")
    expect(console.ends().locator(".said")).to_have_text("42")

    console.control("API key").fill("vk-ops")
    console.control("API key").press("Enter")
    expect(console.page.get_by_role("article", name="Pool latency")).to_be_visible()
    expect(console.page.locator("#decision-rows")).to_contain_text("search")
    console.page.reload()
    expect(status).to_contain_text("Serving mistral-small-4")
    assert "vk-ops" not in console.page.url
    assert console.page.evaluate("localStorage.length + document.cookie.length") == 0
