"""How is chat completions spoken?"""

import json
from collections.abc import Sequence
from typing import Any, cast

from serve_app.conformance.answer import Answer, Call, Finish, arguments, openai_usage
from serve_app.conformance.cases import Called, Returned, Tool, Turn
from serve_app.conformance.dialects.base import Ask, Dialect, chunks, conversation, ending, head, only
from serve_app.conformance.events import Event
from serve_app.conformance.part import Malformed, Part

FINISHES = ("stop", "length", "tool_calls")
REASONING = ("reasoning", "reasoning_content")
"""The two names that servers have for it; one that says both says the same under both."""


class Chat(Dialect):
    """OpenAI's chat completions."""

    name = "chat"
    path = "/v1/chat/completions"

    def body(self, ask: Ask, stream: bool) -> dict[str, Any]:
        """See Dialect."""
        body = conversation(ask, _message) | {"reasoning_effort": ask.effort}
        if ask.case.tools:
            body["tools"] = [_tool(tool) for tool in ask.case.tools]
        if ask.case.schema:
            wanted = {"name": "answer", "schema": ask.case.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        return body | ({"stream": True, "stream_options": {"include_usage": True}} if stream else {})

    def whole(self, body: Part) -> Answer:
        """See Dialect."""
        head(body, "chat.completion")
        choice = only(body, "choices")
        finish = choice["finish_reason"].is_one_of(*FINISHES)
        message = choice["message"]
        message["role"].is_one_of("assistant")
        made = message.get("tool_calls")
        calls = [_call(call, finish == "length") for call in (made.items() if made else ())]
        _check_ids([call["id"] for call in (made.items() if made else ())])
        said = message["content"]
        return Answer(
            text="" if said.value is None else said.text(),
            reasoning=_one_reasoning({name: _optional(message, name) for name in REASONING}, message.path),
            calls=tuple(calls),
            finish=cast(Finish, finish),
            usage=openai_usage(body["usage"], "prompt", "completion"),
        )

    def streamed(self, events: Sequence[Event]) -> Answer:
        """See Dialect."""
        choices, usage = chunks(events, "chat.completion.chunk")
        finish = ending(choices, *FINISHES)
        deltas = [choice["delta"] for choice in choices]
        deltas[0]["role"].is_one_of("assistant")
        joined: dict[str, str | None] = {}
        for name in ("content", *REASONING):
            said = [text for text in (_optional(delta, name) for delta in deltas) if text is not None]
            joined[name] = "".join(said) if said else None
        return Answer(
            text=joined.pop("content") or "",
            reasoning=_one_reasoning(joined, "deltas"),
            calls=_joined_calls(deltas, finish == "length"),
            finish=cast(Finish, finish),
            usage=openai_usage(usage, "prompt", "completion"),
        )


def _message(turn: Turn) -> dict[str, Any]:
    if isinstance(turn, Called):
        function = {"name": turn.call.name, "arguments": json.dumps(turn.call.arguments)}
        call = {"id": turn.id, "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    if isinstance(turn, Returned):
        return {"role": "tool", "tool_call_id": turn.id, "content": turn.text}
    if turn.picture is None:
        return {"role": turn.role, "content": turn.text}
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{turn.picture}"}}
    return {"role": turn.role, "content": [image, {"type": "text", "text": turn.text}]}


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _optional(part: Part, key: str) -> str | None:
    found = part.get(key)
    return None if found is None else found.text()


def _one_reasoning(by_name: dict[str, str | None], where: str) -> str:
    said = {text for text in by_name.values() if text is not None}
    if len(said) > 1:
        raise Malformed(where, f"{' and '.join(REASONING)} differ: {by_name}")
    return said.pop() if said else ""


def _call(call: Part, is_cut: bool) -> Call:
    call["type"].is_one_of("function")
    function = call["function"]
    return Call(function["name"].name(), arguments(function["arguments"], is_cut))


def _check_ids(ids: Sequence[Part]) -> None:
    for place, one in enumerate(ids):
        if one.name() in [earlier.value for earlier in ids[:place]]:
            raise one.fault(f"is {one.value!r}, like that of a call before")


def _joined_calls(deltas: Sequence[Part], is_cut: bool) -> tuple[Call, ...]:
    """The calls whose pieces are in the deltas: the first has id and name, the others arguments only."""
    ids: list[Part] = []
    names: list[str] = []
    texts: list[str] = []
    for piece in (piece for delta in deltas if (made := delta.get("tool_calls")) for piece in made.items()):
        index = piece["index"].count()
        function = piece["function"]
        if index == len(ids):
            ids.append(piece["id"])
            names.append(function["name"].name())
            texts.append("")
            if kind := piece.get("type"):
                kind.is_one_of("function")
        elif index > len(ids):
            raise piece["index"].fault(f"is {index}, but {len(ids)} calls came before")
        elif (again := piece.get("id")) and again.value != ids[index].value:
            raise again.fault(f"is {again.value!r}, but the call's id was {ids[index].value!r}")
        texts[index] += _optional(function, "arguments") or ""
    _check_ids(ids)
    joined = [Part(text, f"arguments of call {place}") for place, text in enumerate(texts)]
    return tuple(Call(name, arguments(text, is_cut)) for name, text in zip(names, joined, strict=True))
