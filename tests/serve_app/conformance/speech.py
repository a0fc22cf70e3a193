"""How does each dialect say an answer, whole and in events, and an error?"""

import json
from dataclasses import dataclass
from typing import Any

import httpx

MODEL = "scripted"
NUM_READ, NUM_MADE = 7, 5
"""The tokens of every prompt and answer."""

Payload = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """What one answer says."""

    text: str
    reasoning: str
    calls: tuple[tuple[str, dict[str, str]], ...]


class OpenAi:
    """What OpenAI's dialects share."""

    done = True

    @staticmethod
    def error(status: int, message: str) -> httpx.Response:
        """An error in OpenAI's form."""
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        return httpx.Response(status, json={"error": error})

    @staticmethod
    def event(data: Payload) -> str:
        """An event without a name."""
        return f"data: {json.dumps(data)}\n\n"

    @staticmethod
    def usage() -> Payload:
        """Of chat and completions."""
        return {"prompt_tokens": NUM_READ, "completion_tokens": NUM_MADE, "total_tokens": NUM_READ + NUM_MADE}


def pieces(text: str) -> list[str]:
    """A text in pieces of three characters."""
    return [text[start : start + 3] for start in range(0, len(text), 3)]


class Chat(OpenAi):
    """Chat completions."""

    @staticmethod
    def effort(body: Payload) -> str:
        """Where the dialect says it."""
        return str(body.get("reasoning_effort"))

    @staticmethod
    def whole(answer: Told) -> Payload:
        """The body."""
        calls = [
            {
                "id": f"call_{place}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(given)},
            }
            for place, (name, given) in enumerate(answer.calls)
        ]
        message = {
            "role": "assistant",
            "content": answer.text or None,
            "reasoning": answer.reasoning or None,
            "reasoning_content": answer.reasoning or None,
            "tool_calls": calls,
        }
        finish = "tool_calls" if calls else "stop"
        choice = {"index": 0, "message": message, "finish_reason": finish}
        head = {"id": "chat-1", "object": "chat.completion", "created": 1, "model": MODEL}
        return head | {"choices": [choice], "usage": OpenAi.usage()}

    @staticmethod
    def events(answer: Told) -> list[Payload]:
        """The chunks."""
        deltas: list[Payload] = [{"role": "assistant", "content": ""}]
        deltas += [{"reasoning": piece, "reasoning_content": piece} for piece in pieces(answer.reasoning)]
        deltas += [{"content": piece} for piece in pieces(answer.text)]
        for index, (name, given) in enumerate(answer.calls):
            opening = {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name}}
            deltas.append({"tool_calls": [opening]})
            deltas += [
                {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
                for piece in pieces(json.dumps(given))
            ]
        choices: list[Payload] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls" if answer.calls else "stop"})
        head = {"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
        chunks: list[Payload] = [head | {"choices": [choice]} for choice in choices]
        return [*chunks, head | {"choices": [], "usage": OpenAi.usage()}]


class Completions(OpenAi):
    """Raw completions."""

    @staticmethod
    def effort(body: Payload) -> str:
        """There is none."""
        return "none"

    @staticmethod
    def whole(answer: Told) -> Payload:
        """The body."""
        choice = {"index": 0, "text": answer.text, "finish_reason": "stop", "logprobs": None}
        head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": MODEL}
        return head | {"choices": [choice], "usage": OpenAi.usage()}

    @staticmethod
    def events(answer: Told) -> list[Payload]:
        """The chunks."""
        body = Completions.whole(answer)
        usage = {"usage": body.pop("usage")}
        texts = [(piece, None) for piece in pieces(answer.text)] + [("", "stop")]
        chunks: list[Payload] = [
            body | {"choices": [{"index": 0, "text": text, "finish_reason": finish}]}
            for text, finish in texts
        ]
        return [*chunks, body | {"choices": []} | usage]


class Responses(OpenAi):
    """Responses."""

    done = False

    @staticmethod
    def effort(body: Payload) -> str:
        """Where the dialect says it."""
        return str(body.get("reasoning", {}).get("effort"))

    @staticmethod
    def event(data: Payload) -> str:
        """An event with its type as its name."""
        return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n"

    @staticmethod
    def whole(answer: Told) -> Payload:
        """The body."""
        output: list[Payload] = []
        content: list[Payload]
        if answer.reasoning:
            content = [{"type": "reasoning_text", "text": answer.reasoning}]
            output.append({"type": "reasoning", "id": "rs_1", "summary": [], "content": content})
        if answer.text:
            content = [{"type": "output_text", "text": answer.text, "annotations": []}]
            said = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
            output.append(said | {"content": content})
        output += [
            {"type": "function_call", "id": f"fc_{place}", "call_id": f"call_{place}", "name": name}
            | {"arguments": json.dumps(given), "status": "completed"}
            for place, (name, given) in enumerate(answer.calls)
        ]
        head = {"id": "resp_1", "object": "response", "created_at": 1, "model": MODEL, "status": "completed"}
        usage: Payload = {"input_tokens": NUM_READ, "output_tokens": NUM_MADE}
        usage |= {"total_tokens": NUM_READ + NUM_MADE, "output_tokens_details": {"reasoning_tokens": 2}}
        return head | {"tools": [], "output": output, "usage": usage}

    @staticmethod
    def events(answer: Told) -> list[Payload]:
        """The events of every item, between those of the response."""
        response = Responses.whole(answer)
        begun = response | {"status": "in_progress", "output": [], "usage": None}
        events: list[Payload] = [{"type": "response.created", "response": begun}]
        for index, item in enumerate(response["output"]):
            place = {"output_index": index}
            of_item = place | {"item_id": item["id"]}
            call = item["type"] == "function_call"
            nothing: Payload = {"arguments": ""} if call else {"content": []}
            empty = item | nothing
            events.append({"type": "response.output_item.added", "item": empty} | place)
            if call:
                what, text, key = "response.function_call_arguments", item["arguments"], "arguments"
                parts: list[Payload] = []
            else:
                (part,) = item["content"]
                what, text, key = f"response.{part['type']}", part["text"], "text"
                of_item["content_index"] = 0
                name = "content_part" if item["type"] == "message" else "reasoning_part"
                parts = [{"type": f"response.{name}.added", "part": part | {"text": ""}} | of_item]
                parts += [{"type": f"response.{name}.done", "part": part} | of_item]
            events += parts[:1]
            events += [{"type": f"{what}.delta", "delta": piece} | of_item for piece in pieces(text)]
            events.append({"type": f"{what}.done", key: text} | of_item)
            events += parts[1:]
            events.append({"type": "response.output_item.done", "item": item} | place)
        events.append({"type": "response.completed", "response": response})
        return [event | {"sequence_number": number} for number, event in enumerate(events)]


class Messages:
    """Anthropic's messages."""

    done = False
    event = Responses.event

    @staticmethod
    def effort(body: Payload) -> str:
        """Where the dialect says it."""
        names = {"enabled": "high", "disabled": "none"}
        return names.get(body.get("thinking", {}).get("type"), "huge")

    @staticmethod
    def error(status: int, message: str) -> httpx.Response:
        """An error in Anthropic's form."""
        kind = {404: "not_found_error", 400: "invalid_request_error"}[status]
        return httpx.Response(status, json={"type": "error", "error": {"type": kind, "message": message}})

    @staticmethod
    def whole(answer: Told) -> Payload:
        """The body."""
        blocks: list[Payload] = []
        if answer.reasoning:
            blocks.append({"type": "thinking", "thinking": answer.reasoning, "signature": "s"})
        if answer.text:
            blocks.append({"type": "text", "text": answer.text})
        blocks += [
            {"type": "tool_use", "id": f"toolu_{place}", "name": name, "input": given}
            for place, (name, given) in enumerate(answer.calls)
        ]
        usage = {"input_tokens": NUM_READ - 2, "cache_read_input_tokens": 2, "output_tokens": NUM_MADE}
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL}
        stop = "tool_use" if answer.calls else "end_turn"
        return head | {"content": blocks, "stop_reason": stop, "stop_sequence": None, "usage": usage}

    @staticmethod
    def events(answer: Told) -> list[Payload]:
        """The events of every block, between those of the message."""
        message = Messages.whole(answer)
        begun = message | {"content": [], "stop_reason": None}
        begun["usage"] = begun["usage"] | {"output_tokens": 0}
        events: list[Payload] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
        for index, block in enumerate(message["content"]):
            kind = block["type"]
            place = {"index": index}
            if kind == "tool_use":
                empty: Payload = block | {"input": {}}
                deltas = [
                    ("input_json_delta", "partial_json", piece)
                    for piece in pieces(json.dumps(block["input"]))
                ]
            else:
                empty = {"type": kind, kind: ""}
                deltas = [(f"{kind}_delta", kind, piece) for piece in pieces(block[kind])]
            if kind == "thinking":
                deltas.append(("signature_delta", "signature", block["signature"]))
            events.append({"type": "content_block_start", "content_block": empty} | place)
            events += [
                {"type": "content_block_delta", "delta": {"type": what, key: piece}} | place
                for what, key, piece in deltas
            ]
            events.append({"type": "content_block_stop"} | place)
        delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
        events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": NUM_MADE}})
        return [*events, {"type": "message_stop"}]


SPEECH: dict[str, type] = {
    "/v1/chat/completions": Chat,
    "/v1/completions": Completions,
    "/v1/responses": Responses,
    "/v1/messages": Messages,
}
"""By route."""
