"""How is Anthropic's messages spoken?"""

from collections.abc import Sequence
from typing import Any

from serve_app.conformance.answer import Answer, Call, Finish, Usage, arguments
from serve_app.conformance.cases import Called, Returned, Turn
from serve_app.conformance.dialects.base import Ask, Dialect, conversation
from serve_app.conformance.events import Event
from serve_app.conformance.part import Malformed, Part
from serve_app.conformance.refusals import Form

VERSION = "2023-06-01"
FINISHES: dict[str, Finish] = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
"""The stop reasons that may come: no stop sequence is asked for."""

DELTAS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("thinking", "signature"),
    "input_json_delta": ("tool_use", "partial_json"),
}
"""By the type of a delta: in which block it may stand, and which field it goes on with."""


class Messages(Dialect):
    """Anthropic's messages."""

    name = "messages"
    path = "/v1/messages"
    form = Form.ANTHROPIC

    def headers(self, key: str | None) -> dict[str, str]:
        """See Dialect."""
        return {"anthropic-version": VERSION} | ({} if key is None else {"x-api-key": key})

    def body(self, ask: Ask, stream: bool) -> dict[str, Any]:
        """See Dialect. `thinking` says the efforts that it can say."""
        body = conversation(ask, _message)
        if ask.effort == "none":
            body["thinking"] = {"type": "disabled"}
        elif ask.effort == "high":
            body["thinking"] = {"type": "enabled", "budget_tokens": ask.max_tokens // 2}
        else:
            body["output_config"] = {"effort": ask.effort}
        if ask.case.tools:
            body["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
                for tool in ask.case.tools
            ]
        if ask.case.schema:
            wanted = {"type": "json_schema", "schema": ask.case.schema}
            body["output_config"] = body.get("output_config", {}) | {"format": wanted}
        return body | ({"stream": True} if stream else {})

    def whole(self, body: Part) -> Answer:
        """See Dialect."""
        _head(body)
        blocks = body["content"].items()
        if not blocks:
            raise body["content"].fault("must have a block")
        for block in blocks:
            if block["type"].is_one_of("text", "thinking", "tool_use") == "thinking":
                block["signature"].text()
        finish = FINISHES[body["stop_reason"].is_one_of(*FINISHES)]
        return _answer(blocks, finish, _usage(body["usage"]))

    def streamed(self, events: Sequence[Event]) -> Answer:
        """See Dialect."""
        parts = [event.named() for event in events if event.name != "ping"]
        kinds = [part["type"].value for part in parts]
        if kinds[:1] != ["message_start"] or kinds[-2:] != ["message_delta", "message_stop"]:
            raise Malformed("stream", f"begins with {kinds[:1]} and ends in {kinds[-2:]}")
        start, *between, delta, _ = parts
        _head(start["message"])
        if start["message"]["content"].items():
            raise start["message"]["content"].fault("must be empty at the start")
        blocks = _joined(between)
        finish = FINISHES[delta["delta"]["stop_reason"].is_one_of(*FINISHES)]
        for block in blocks:
            if block["type"].value == "tool_use" and (joined := block["partial_json"]).value:
                block.members()["input"] = arguments(joined, finish == "length")
        # What the end says of the prompt, if it does, holds: at the start not all may be known of the cache.
        return _answer(blocks, finish, _usage(start["message"]["usage"], delta["usage"]))


def _message(turn: Turn) -> dict[str, Any]:
    if isinstance(turn, Called):
        block = {"type": "tool_use", "id": turn.id, "name": turn.call.name, "input": turn.call.arguments}
        return {"role": "assistant", "content": [block]}
    if isinstance(turn, Returned):
        block = {"type": "tool_result", "tool_use_id": turn.id, "content": turn.text}
        return {"role": "user", "content": [block]}
    if turn.picture is None:
        return {"role": turn.role, "content": turn.text}
    source = {"type": "base64", "media_type": "image/png", "data": turn.picture}
    image = {"type": "image", "source": source}
    return {"role": turn.role, "content": [image, {"type": "text", "text": turn.text}]}


def _head(message: Part) -> None:
    message["id"].name()
    message["type"].is_one_of("message")
    message["role"].is_one_of("assistant")
    message["model"].name()


def _usage(usage: Part, later: Part | None = None) -> Usage:
    """The usage; one that comes later in a stream replaces what it names."""
    known = Part(usage.members() | (later.members() if later else {}), (later or usage).path)
    cached = [known.get(f"cache_{what}_input_tokens") for what in ("read", "creation")]
    read = known["input_tokens"].count() + sum(part.count() for part in cached if part)
    return Usage(read, known["output_tokens"].count())


def _joined(events: Sequence[Part]) -> list[Part]:
    """The blocks of a stream, which come one after the other, each from its start to its stop."""
    blocks: list[Part] = []
    is_open = False
    for event in events:
        kind = event["type"].is_one_of("content_block_start", "content_block_delta", "content_block_stop")
        is_start = kind == "content_block_start"
        if is_start == is_open or event["index"].count() != len(blocks) - (not is_start):
            raise event.fault(f"a {kind} of block {event['index'].value}, after {len(blocks)} have begun")
        if is_start:
            blocks.append(_started(event["content_block"]))
        elif kind == "content_block_delta":
            _go_on(blocks[-1], event["delta"])
        is_open = kind != "content_block_stop"
    if is_open:
        raise Malformed("stream", f"block {len(blocks) - 1} has no stop")
    return blocks


def _started(block: Part) -> Part:
    """A copy of a block as it starts, to go on with."""
    kind = block["type"].is_one_of("text", "thinking", "tool_use")
    if kind == "tool_use" and block["input"].members():
        raise block["input"].fault("must be empty at the start")
    return Part({"signature": "", "partial_json": ""} | block.members(), block.path)


def _go_on(block: Part, delta: Part) -> None:
    kind, field = DELTAS[delta["type"].is_one_of(*DELTAS)]
    if block["type"].value != kind:
        raise delta["type"].fault(f"is {delta['type'].value!r} in a block of type {block['type'].value!r}")
    block.members()[field] = block[field].text() + delta[field].text()


def _answer(blocks: Sequence[Part], finish: Finish, usage: Usage) -> Answer:
    def of(kind: str) -> list[Part]:
        return [block for block in blocks if block["type"].value == kind]

    ids = [block["id"].name() for block in of("tool_use")]
    if len(set(ids)) < len(ids):
        raise Malformed("content", f"two calls have the same id: {ids}")
    is_cut = finish == "length"
    return Answer(
        text="".join(block["text"].text() for block in of("text")),
        reasoning="".join(block["thinking"].text() for block in of("thinking")),
        calls=tuple(Call(block["name"].name(), _input(block["input"], is_cut)) for block in of("tool_use")),
        finish=finish,
        usage=usage,
    )


def _input(given: Part, is_cut: bool) -> Any:
    return given.value if is_cut else given.members()
