"""How is OpenAI's responses spoken?"""

import json
from collections.abc import Sequence
from typing import Any

from serve_app.conformance.answer import Answer, Call, Finish, arguments, openai_usage
from serve_app.conformance.cases import Called, Returned, Turn
from serve_app.conformance.dialects.base import Ask, Dialect
from serve_app.conformance.dialects.response_events import final_response
from serve_app.conformance.events import Event
from serve_app.conformance.part import Part


class Responses(Dialect):
    """OpenAI's responses, nothing stored."""

    name = "responses"
    path = "/v1/responses"

    def body(self, ask: Ask, stream: bool) -> dict[str, Any]:
        """See Dialect."""
        body: dict[str, Any] = {
            "model": ask.model,
            "input": [_item(turn) for turn in ask.case.turns],
            "max_output_tokens": ask.max_tokens,
            "temperature": 0,
            "reasoning": {"effort": ask.effort},
            "store": False,
        }
        if ask.case.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                    "strict": False,
                }
                for tool in ask.case.tools
            ]
        if ask.case.schema:
            body["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": ask.case.schema}}
        return body | ({"stream": True} if stream else {})

    def whole(self, body: Part) -> Answer:
        """See Dialect."""
        body["id"].name()
        body["object"].is_one_of("response")
        body["model"].name()
        body["tools"].items()
        is_cut = body["status"].is_one_of("completed", "incomplete") == "incomplete"
        if is_cut:
            body["incomplete_details"]["reason"].is_one_of("max_output_tokens")
        text, reasoning, calls, ids = "", "", [], set()
        for item in body["output"].items():
            kind = item["type"].is_one_of("message", "reasoning", "function_call")
            if kind == "message":
                text += _message_text(item)
            elif kind == "reasoning":
                reasoning += _reasoning_text(item)
            else:
                ids.add(item["call_id"].name())
                calls.append(Call(item["name"].name(), arguments(item["arguments"], is_cut)))
        if len(ids) < len(calls):
            raise body["output"].fault(f"{len(calls)} calls share the ids {ids}")
        finish: Finish = "length" if is_cut else "tool_calls" if calls else "stop"
        usage = openai_usage(body["usage"], "input", "output")
        return Answer(text, reasoning, tuple(calls), finish, usage)

    def streamed(self, events: Sequence[Event]) -> Answer:
        """See Dialect. The last event has the whole response, which must say what was streamed."""
        response, streamed = final_response(events)
        answer = self.whole(response)
        said = (streamed.text, streamed.reasoning.strip())
        if said != (answer.text, answer.reasoning.strip()):
            raise response["output"].fault(
                f"says {answer.text!r} and thinks {answer.reasoning!r}; streamed: {said}"
            )
        calls = tuple(
            Call(name, arguments(Part(text, f"{response.path}.arguments"), answer.finish == "length"))
            for name, text in streamed.calls
        )
        if calls != answer.calls:
            raise response["output"].fault(f"calls {answer.calls}; streamed: {calls}")
        return answer


def _item(turn: Turn) -> dict[str, Any]:
    if isinstance(turn, Called):
        call = {"name": turn.call.name, "arguments": json.dumps(turn.call.arguments)}
        return {"type": "function_call", "call_id": turn.id} | call
    if isinstance(turn, Returned):
        return {"type": "function_call_output", "call_id": turn.id, "output": turn.text}
    if turn.picture is None:
        return {"role": turn.role, "content": turn.text}
    image = {
        "type": "input_image",
        "image_url": f"data:image/png;base64,{turn.picture}",
        "detail": "auto",
    }
    return {"role": turn.role, "content": [image, {"type": "input_text", "text": turn.text}]}


def _message_text(item: Part) -> str:
    item["id"].name()
    item["role"].is_one_of("assistant")
    item["status"].is_one_of("completed", "incomplete")
    texts = []
    for part in item["content"].items():
        part["type"].is_one_of("output_text")
        part["annotations"].items()
        texts.append(part["text"].text())
    return "".join(texts)


def _reasoning_text(item: Part) -> str:
    """What a reasoning item says: in its content where it has one, else in its summary."""
    item["id"].name()
    summary = [part["text"].text() for part in item["summary"].items()]
    content = item.get("content")
    if content is None:
        return "".join(summary)
    for part in content.items():
        part["type"].is_one_of("reasoning_text")
    return "".join(part["text"].text() for part in content.items())
