"""The conversation: what is sent, what is shown of the answer, and what when there is none."""

import base64
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from serve_app.conformance.picture import red_circle
from serve_app.engine.scripted import Step
from serve_app.errors import ReplicaLost
from serve_app.ingress import pages
from serve_app.types import Reason
from tests.serve_app.console.browsing import DONE, answer, delta, says, usage, usual
from tests.serve_app.console.conftest import Open
from tests.serve_app.ingress.asking import SSE
from tests.serve_app.samples import head, system

WEATHER = {"index": 0, "id": "pA7rX2mQ9", "function": {"name": "get_weather", "arguments": '{"city": "Par'}}
REST = {"index": 0, "function": {"arguments": 'is"}'}}


def test_an_answer_at_high(open_console: Open) -> None:
    """Its reasoning has a pane of its own, and below it stands who served it, why, and how fast."""
    console = open_console(usual())
    console.ask("What is 17 + 25?", "High")
    shown = console.ends()
    expect(shown.locator(".said")).to_have_text("It is 42.")
    pane = shown.get_by_role("group")
    expect(pane.get_by_text("17 + 25 is 42.")).to_be_hidden()  # it has made way
    pane.get_by_text("Reasoning").click()
    expect(pane.get_by_text("17 + 25 is 42.")).to_be_visible()
    figures = shown.locator("dl").inner_text().replace("\n", " ")
    assert "Pool latency · l1" in figures
    assert "Why the pool serves this effort" in figures
    assert "Tokens 12 in, 21 out" in figures
    assert "Drafts 2.4 tokens a step, k = 2" in figures
    (sent,) = console.sent("latency")
    assert (sent["reasoning_effort"], sent["stream"], sent["model"]) == ("high", True, "mistral-small-4")


def test_reasoning_is_shown_while_it_comes(open_console: Open) -> None:
    """The pane is open until the answer begins; what happens is said to screen readers too."""
    script = answer("l1", delta(reasoning="Let me see."), 2.0, delta(content="42"), delta("stop"))
    console = open_console(system({}, {"l1": script}))
    console.ask("17 + 25?", "High")
    expect(console.last.get_by_text("Let me see.")).to_be_visible()
    expect(console.page.locator("#progress")).to_have_text("Reasoning.")
    console.ends()
    expect(console.last.get_by_text("Let me see.")).to_be_hidden()
    expect(console.page.locator("#progress")).to_have_text("Answer complete. 42")


def test_how_fast_an_answer_was(open_console: Open) -> None:
    """Its speed is that of the tokens after the first, which the page has seen before the others come."""
    go_on = threading.Event()

    def script() -> Iterator[Step]:
        yield from (head("l1", SSE), delta(reasoning="Let me see."))
        while not go_on.is_set():
            yield 0.01
        yield from (delta(content="42"), delta("stop"), usage(12, 21), DONE)

    console = open_console(system({}, {"l1": script()}))
    asked_s = time.monotonic()
    console.ask("17 + 25?", "High")
    expect(console.last.get_by_text("Let me see.")).to_be_visible()
    console.page.wait_for_timeout(200)
    go_on.set()
    figures = console.ends().locator("dl").inner_text().replace("\n", " ")
    took_s = time.monotonic() - asked_s
    found = re.search(r"First token [\d.]+ m?s Speed ([\d.]+) tokens/s", figures)
    assert found, figures
    assert 20 / took_s < float(found[1]) < 20 / 0.2


def test_a_conversation_goes_on(open_console: Open) -> None:
    """A second prompt travels with the first and its answer; a new conversation with neither."""
    console = open_console(usual())
    console.ask("17 + 25?")
    console.ends()
    console.ask("And one more?", "High")
    console.ends()
    (sent,) = console.sent("latency")
    assert sent["messages"] == [
        {"role": "user", "content": "17 + 25?"},
        {"role": "assistant", "content": "42"},
        {"role": "user", "content": "And one more?"},
    ]
    console.button("New").click()
    console.ask("Hello")
    console.ends()
    assert console.sent("throughput")[1]["messages"] == [{"role": "user", "content": "Hello"}]


def test_stop(open_console: Open) -> None:
    """It stops the engine too; what has come stays, and the conversation goes on."""
    script = answer("t1", delta(content="One, two"), 60.0, delta(content=", three"))
    console = open_console(system({"t1": script}))
    console.ask("Count.")
    expect(console.last.locator(".said")).to_have_text("One, two")
    console.button("Stop").click()
    shown = console.ends()
    expect(shown).to_contain_text("Stopped.")
    console.page.wait_for_timeout(300)
    assert console.parts.num_cancels() == 1
    console.parts.backends["throughput"].replicas["t1"] = says("t1", "Three.")
    console.ask("Go on.")
    expect(console.ends().locator(".said")).to_have_text("Three.")
    assert [turn["content"] for turn in console.sent("throughput")[1]["messages"]][1] == "One, two"


def test_tools(open_console: Open) -> None:
    """The sample is sent as it stands, the call is shown, and its result goes back with the call's id."""
    calls = answer("t1", delta(tool_calls=[WEATHER]), delta(tool_calls=[REST]), delta("tool_calls"))
    console = open_console(system({"t1": calls}))
    console.page.get_by_text("Tools and JSON schema").click()
    console.button("Sample tools").click()
    console.button("Send").click()
    shown = console.ends()
    expect(shown.get_by_role("heading", name="Calls get_weather")).to_be_visible()
    expect(shown.locator("pre")).to_have_text('{\n  "city": "Paris"\n}')
    console.ask("Never mind.")
    expect(console.page.get_by_role("alert")).to_contain_text("waits for the results")
    console.parts.backends["throughput"].replicas["t1"] = says("t1", "It is 21 degrees.")
    shown.get_by_label("Result of get_weather").fill('{"temperature": 21}')
    console.button("Send result").click()
    expect(console.page.get_by_text("It is 21 degrees.", exact=True)).to_be_visible()
    first, second = console.sent("throughput")
    assert first["tools"][0]["function"]["name"] == "get_weather"
    called, result = second["messages"][1:]
    assert called["tool_calls"][0]["id"] == result["tool_call_id"] == "pA7rX2mQ9"
    assert called["tool_calls"][0]["function"]["arguments"] == '{"city": "Paris"}'
    assert (result["role"], result["content"]) == ("tool", '{"temperature": 21}')


def test_a_schema(open_console: Open) -> None:
    """The sample travels as OpenAI's response_format, with a prompt that fits it."""
    console = open_console(usual())
    console.page.get_by_text("Tools and JSON schema").click()
    console.button("Sample schema").click()
    console.button("Send").click()
    console.ends()
    (sent,) = console.sent("throughput")
    assert sent["response_format"]["json_schema"]["schema"]["required"] == ["name", "age"]
    assert "Alice" in sent["messages"][0]["content"]


@pytest.mark.parametrize(
    ("box", "text", "wrong"),
    [
        ("Tools, a JSON array", "[{", "not JSON: "),
        ("Tools, a JSON array", "{}", "must be a JSON array"),
        ("Schema of the answer, a JSON object", "[]", "must be a JSON object"),
    ],
)
def test_what_is_no_json_is_not_sent(open_console: Open, box: str, text: str, wrong: str) -> None:
    """The box says what is wrong, and the prompt stays where it is."""
    console = open_console(usual())
    console.page.get_by_text("Tools and JSON schema").click()
    console.control(box).fill(text)
    console.ask("Hello")
    expect(console.control(box)).to_have_attribute("aria-invalid", "true")
    expect(console.control(box)).to_have_accessible_description(re.compile(wrong))
    expect(console.control(box)).to_be_focused()
    expect(console.control("Prompt")).to_have_value("Hello")
    assert console.sent("throughput") == []


def test_images(open_console: Open, tmp_path: Path) -> None:
    """A file is shown, can be taken away, and travels as a data URL before the words."""
    console = open_console(usual())
    picture = tmp_path / "red.png"
    picture.write_bytes(base64.b64decode(red_circle()))
    console.control("Attach images").set_input_files([picture, picture])
    expect(console.page.get_by_role("img", name="red.png")).to_have_count(2)
    console.button("Remove red.png").first.click()
    expect(console.page.get_by_role("img", name="red.png")).to_have_count(1)
    console.ask("What colour is it?")
    console.ends()
    (sent,) = console.sent("throughput")
    image, words = sent["messages"][0]["content"]
    assert image["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert words == {"type": "text", "text": "What colour is it?"}
    expect(console.page.get_by_role("article", name="You").get_by_role("img", name="red.png")).to_be_visible()


def test_no_replica(open_console: Open) -> None:
    """The error is shown as the server words it, and the prompt is there to be sent again."""
    console = open_console(system({}))
    console.ask("Hello")
    shown = console.ends()
    expect(shown).to_contain_text("no healthy replica for reasoning_effort 'none'")
    expect(shown).to_contain_text("503, no_healthy_replica")
    expect(console.control("Prompt")).to_have_value("Hello")


def test_a_stream_that_breaks(open_console: Open) -> None:
    """What has come stays beside the error."""
    script = (head("t1", SSE), delta(content="One, two"), ReplicaLost("replica t1 died"))
    console = open_console(system({"t1": script}))
    console.ask("Count.")
    shown = console.ends()
    expect(shown).to_contain_text("One, two")
    expect(shown).to_contain_text("replica t1 died")


def test_a_most_of_tokens(open_console: Open) -> None:
    """It is sent, and an answer that ran into it says so."""
    console = open_console(system({"t1": answer("t1", delta(content="One"), delta("length"), usage(3, 1))}))
    console.control("Max tokens").fill("1")
    console.ask("Count.")
    expect(console.ends()).to_contain_text("at the most tokens allowed")
    assert console.sent("throughput")[0]["max_tokens"] == 1


def test_every_reason_has_words() -> None:
    """The page explains each reason that the router has."""
    text = (pages.FOLDER / "reasons.js").read_text()
    told = set(re.findall(r'^  "?([\w-]+)"?: "', text, re.MULTILINE))
    assert told == {reason.value for reason in Reason}
