"""Which items do the events of a responses stream add up to, and do they come in the right order?"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from serve_app.conformance.events import Event
from serve_app.conformance.part import Malformed, Part

ENDS = ("response.completed", "response.incomplete")
TEXTS = {
    "response.output_text": "message",
    "response.reasoning_text": "reasoning",
    "response.reasoning_summary_text": "reasoning",
    "response.function_call_arguments": "function_call",
}
"""What `.delta` and `.done` may follow, and in an item of which type."""

PARTS = ("response.content_part", "response.reasoning_part", "response.reasoning_summary_part")
"""What `.added` and `.done` may follow."""


@dataclass
class Streamed:
    """What the deltas add up to."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Name and arguments."""


@dataclass
class _Item:
    """An output item while it is streamed."""

    kind: str
    id: str | None
    said: str = ""
    section: str = ""
    """What the text says that is not done yet."""
    is_done: bool = False
    name: str = ""


def final_response(events: Sequence[Event]) -> tuple[Part, Streamed]:
    """The response in the last event, and what was streamed before it.

    Raises Malformed if the events are not in the right order.
    """
    parts = [event.named() for event in events]
    for place, part in enumerate(parts):
        if part["sequence_number"].count() != place:
            raise part["sequence_number"].fault(f"is {part['sequence_number'].value}, not {place}")
    kinds = [part["type"].value for part in parts]
    if kinds[:1] != ["response.created"] or kinds[-1] not in ENDS:
        raise Malformed("stream", f"begins with {kinds[:1]} and ends in {kinds[-1:]}")
    first, *between, last = parts
    first["response"]["status"].is_one_of("queued", "in_progress")
    items: list[_Item] = []
    for part in between:
        _take(part, items)
    if unfinished := [place for place, item in enumerate(items) if not item.is_done]:
        raise Malformed("stream", f"output items {unfinished} are not done")
    if last["response"]["id"].value != first["response"]["id"].value:
        raise last["response"]["id"].fault(f"is not {first['response']['id'].value!r}, as at the start")
    streamed = Streamed(
        "".join(item.said for item in items if item.kind == "message"),
        "".join(item.said for item in items if item.kind == "reasoning"),
        [(item.name, item.said) for item in items if item.kind == "function_call"],
    )
    return last["response"], streamed


def _take(event: Part, items: list[_Item]) -> None:
    """Bring the items on by one event. What only adds to them, such as annotations, is passed over."""
    what, _, action = event["type"].text().rpartition(".")
    if what == "response.output_item" and action == "added":
        if event["output_index"].count() != len(items):
            raise event["output_index"].fault(f"is {event['output_index'].value}, not {len(items)}")
        items.append(_added(event["item"]))
    elif what == "response.output_item" and action == "done":
        _finish(_open_item(event, items, event["item"]), event["item"])
    elif what in TEXTS and action in ("delta", "done"):
        item = _open_item(event, items)
        if item.kind != TEXTS[what]:
            raise event.fault(f"{what} in an item of type {item.kind}")
        if action == "delta":
            item.section += event["delta"].text()
            return
        _same(event["arguments" if item.kind == "function_call" else "text"], item.section)
        item.said, item.section = item.said + item.section, ""
    elif what in PARTS and action in ("added", "done"):
        _open_item(event, items)
        event["part"]["type"].name()


def _added(item: Part) -> _Item:
    kind = item["type"].is_one_of("message", "reasoning", "function_call")
    if kind != "function_call":
        return _Item(kind, item["id"].name())
    item["call_id"].name()
    identity = item.get("id")
    return _Item(kind, None if identity is None else identity.name(), name=item["name"].name())


def _open_item(event: Part, items: Sequence[_Item], item: Part | None = None) -> _Item:
    """The item that the event is of, which has been added and is not done."""
    index = event["output_index"].count()
    if index >= len(items) or items[index].is_done:
        raise event.fault(f"{event['type'].value} of item {index}, which is not open")
    identity = event["item_id"] if item is None else item.get("id")
    if identity is not None and items[index].id not in (None, identity.value):
        raise identity.fault(f"is {identity.value!r}, but the item's id was {items[index].id!r}")
    return items[index]


def _finish(item: _Item, done: Part) -> None:
    done["type"].is_one_of(item.kind)
    if item.section:
        raise done.fault(f"done, but there was no event for the end of {item.section!r}")
    if item.kind == "function_call":
        done["name"].is_one_of(item.name)
        _same(done["arguments"], item.said)
    elif item.kind == "message":
        _same(Part("".join(part["text"].text() for part in done["content"].items()), done.path), item.said)
    item.is_done = True


def _same(said: Part, streamed: str) -> None:
    if said.text() != streamed:
        raise said.fault(f"is {said.value!r}, but the deltas make {streamed!r}")
