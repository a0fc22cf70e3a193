"""The console without a mouse, without eyes, in the dark, and on a telephone."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.serve_app.console.browsing import Console, answer, delta, usage, usual
from tests.serve_app.console.conftest import Open

CONTROLS = {"button", "combobox", "link", "radio", "spinbutton", "textbox", "meter", "DisclosureTriangle"}
LEAST_CONTRAST = 4.5
"""Of text on its ground, by WCAG 2 at level AA."""

NAMED = "const named = (one) => one.id || one.getAttribute('aria-label') || one.textContent.trim();"
FOCUSABLE = f"""() => {{ {NAMED}
  return [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
    .filter((one) => !one.disabled && one.checkVisibility())
    .filter((one) => one.type !== "radio" || one.checked)
    .map(named);
}}"""
FOCUSED = f"() => {{ {NAMED} return named(document.activeElement); }}"
OUTLINE = """() => {
  const one = document.activeElement;
  const seen = ["radio", "file"].includes(one.type) ? one.nextElementSibling : one;
  return `${getComputedStyle(seen).outlineStyle} ${getComputedStyle(seen).outlineWidth}`;
}"""
CONTRASTS = """() => {
  const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
    return pen.getImageData(0, 0, 1, 1).data;
  };
  const light = (colour) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = [...rgba(colour)].map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (rgba(colour)[3] === 255) return colour;
    }
    throw new Error("no ground");
  };
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    const hasText = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!hasText || one.disabled || one.closest("[disabled]") || !one.checkVisibility()) continue;
    const pair = [light(getComputedStyle(one).color), light(ground(one))].sort((a, b) => b - a);
    found.push([one.textContent.trim().slice(0, 30), (pair[0] + 0.05) / (pair[1] + 0.05)]);
  }
  return found;
}"""


def in_use(open_console: Open) -> Console:
    """Return a console with everything in it: an answer, a call, an error, a table, and open boxes."""
    call = {"index": 0, "id": "pA7rX2mQ9", "function": {"name": "get_weather", "arguments": "{}"}}
    parts = usual()
    parts.backends["throughput"].replicas["t1"] = answer(
        "t1", delta(tool_calls=[call]), delta("tool_calls"), usage(1, 2)
    )
    load = {"window_s": 60.0, "ranks": 1, "balancedness": [1.0], "counts": [[1, 9]]}
    parts.backends["throughput"].loads = {"t1": load}
    parts.backends["latency"].loads = {"l1": load}
    console = open_console(parts)
    console.ask("17 + 25?", "High")
    console.ends().get_by_text("Reasoning").click()
    console.page.get_by_text("Tools and JSON schema").click()
    console.button("Sample tools").click()
    console.ask("And the weather?")
    console.ends()
    console.control("Schema of the answer, a JSON object").fill("{")
    console.page.get_by_text("Hottest experts").click()
    expect(console.page.locator("#decision-rows tr")).to_have_count(2)
    return console


def accessible(page: Page) -> list[tuple[str, str]]:
    """Return role and name of everything in the accessibility tree."""
    session = page.context.new_cdp_session(page)
    nodes: list[dict[str, Any]] = session.send("Accessibility.getFullAXTree")["nodes"]
    return [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    ]


def test_every_control_has_a_name(open_console: Open) -> None:
    """A screen reader can say what each one is for; headings and regions divide the page."""
    found = accessible(in_use(open_console).page)
    controls = [(role, name) for role, name in found if role in CONTROLS]
    assert {role for role, _ in controls} == CONTROLS
    assert [role for role, name in controls if not name.strip()] == []
    headings = [name for role, name in found if role == "heading"]
    assert {"Venturi", "Conversation", "Pools", "Decisions", "Experts"} <= set(headings)
    assert {("main", ""), ("log", "Turns"), ("region", "Last decisions")} <= set(found)


def test_the_keyboard_reaches_everything_and_gets_out_again(open_console: Open) -> None:
    """Tab visits every control once, in the page's order, and comes round."""
    page = in_use(open_console).page
    wanted = page.evaluate(FOCUSABLE)
    page.locator("body").evaluate("() => document.activeElement.blur()")
    page.locator(".skip").focus()
    visited = [page.evaluate(FOCUSED)]
    for _ in wanted[1:]:
        page.keyboard.press("Tab")
        visited.append(page.evaluate(FOCUSED))
    assert visited == wanted
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(FOCUSED) == wanted[-2]


def test_a_conversation_by_keys_alone(open_console: Open) -> None:
    """Skip to the prompt, type, choose the effort by arrow, send; the focus comes back to the prompt."""
    console = open_console(usual())
    keys = console.page.keyboard
    keys.press("Tab")
    keys.press("Enter")
    expect(console.control("Prompt")).to_be_focused()
    keys.type("17 +")
    keys.press("Shift+Enter")
    keys.type("25?")
    keys.press("Tab")
    keys.press("ArrowRight")
    expect(console.control("High")).to_be_checked()
    keys.press("Shift+Tab")
    keys.press("Enter")
    expect(console.ends().locator(".said")).to_have_text("It is 42.")
    expect(console.control("Prompt")).to_be_focused()
    assert console.sent("latency")[0]["messages"][0]["content"] == "17 +\n25?"


def test_the_focus_is_seen(open_console: Open) -> None:
    """Whatever has the focus has an outline."""
    page = in_use(open_console).page
    page.locator(".skip").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")  # browsers show it to those who use the keyboard
    for _ in page.evaluate(FOCUSABLE):
        assert page.evaluate(OUTLINE) == "solid 2px", page.evaluate(FOCUSED)
        page.keyboard.press("Tab")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(open_console: Open, scheme: Any) -> None:
    """Every text can be read on its ground, by day and by night."""
    page = in_use(open_console).page
    page.emulate_media(color_scheme=scheme)
    found = page.evaluate(CONTRASTS)
    assert len(found) > 60
    assert [(text, round(ratio, 2)) for text, ratio in found if ratio < LEAST_CONTRAST] == []


def test_a_narrow_screen(open_console: Open) -> None:
    """Nothing is wider than a telephone."""
    console = in_use(open_console)
    console.page.set_viewport_size({"width": 360, "height": 740})
    assert console.page.evaluate("document.documentElement.scrollWidth") == 360


def test_nothing_moves(open_console: Open) -> None:
    """There is no motion to be reduced."""
    page = in_use(open_console).page
    assert page.evaluate("document.getAnimations().length") == 0
