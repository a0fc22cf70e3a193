"""How is a running system asked many questions, and what do its engines say of their drafts?"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from deploy.pocket.families.example import Example
from deploy.pocket.score import Answer, Drafting

MAX_TOKENS = 320
"""More than twice the longest right answer: what is cut off there had not ended."""

TIMEOUT_S = 120.0
SETTLE_PERIOD_S = 0.5
SETTLE_ATTEMPTS = 20

COUNTERS = "vllm:spec_decode_num_"


@dataclass(frozen=True)
class Asked:
    """One question, and what came of it; `message` is None for an error."""

    example: Example
    answer: Answer
    message: dict[str, Any] | None

    def story(self) -> dict[str, Any]:
        """Question, right answer and what came, without pictures, as plain values."""
        example, message = self.example, self.message or {}
        asked = example.request["messages"][-1]["content"]
        if not isinstance(asked, str):
            asked = next(part["text"] for part in asked if part["type"] == "text")
        return {
            "family": example.family,
            "effort": example.effort,
            "response_format": example.request.get("response_format", {}).get("type"),
            "asked": asked,
            "right": [asdict(call) for call in example.tool_calls] or example.content,
            "reasoning": message.get("reasoning"),
            "content": message.get("content"),
            "tool_calls": [call["function"] for call in message.get("tool_calls") or ()],
            "has_ended": self.answer.has_ended,
            "error": self.answer.error,
        }


async def model_name(http: httpx.AsyncClient) -> str:
    """The name of the model that is served. Raises httpx.HTTPError if nothing serves there."""
    cards = (await http.get("/v1/models")).raise_for_status().json()["data"]
    return str(cards[0]["id"])


async def ask_all(
    http: httpx.AsyncClient,
    model: str,
    questions: Sequence[Example],
    temperature: float,
    concurrency: int,
    on_answer: Callable[[], object] = lambda: None,
) -> list[Asked]:
    """Ask each question once, at most `concurrency` at a time; the answers come in the questions' order."""
    asked: dict[int, Asked] = {}
    waiting = iter(enumerate(questions))

    async def client() -> None:
        for place, example in waiting:
            # A seed of its own, so that a sampled pass can be repeated.
            asked[place] = await ask(http, example, model=model, temperature=temperature, seed=place)
            on_answer()

    async with asyncio.TaskGroup() as clients:
        for _ in range(concurrency):
            clients.create_task(client())
    return [asked[place] for place in range(len(questions))]


async def ask(http: httpx.AsyncClient, example: Example, **fields: Any) -> Asked:
    """Ask one question. What the server refuses, or fails to answer, is an answer with an error."""
    body = example.request | {"max_tokens": MAX_TOKENS} | fields
    try:
        response = await http.post("/v1/chat/completions", json=body)
    except httpx.HTTPError as error:
        return _failed(example, f"{type(error).__name__}: {error}")
    if response.status_code != 200:
        return _failed(example, f"{response.status_code}: {_complaint(response)}")
    return judged(example, response.json())


def judged(example: Example, completion: dict[str, Any]) -> Asked:
    """The answer in a chat completion.

    The count of tokens decides with the finish reason whether it has ended: vLLM says `tool_calls` of every
    answer with a call, also of one that was cut off.
    """
    choice, num_tokens = completion["choices"][0], completion["usage"]["completion_tokens"]
    has_ended = choice["finish_reason"] in ("stop", "tool_calls") and num_tokens < MAX_TOKENS
    is_right = example.is_right(choice["message"])
    answer = Answer(example.family, example.effort, is_right, has_ended, num_tokens)
    return Asked(example, answer, choice["message"])


def _failed(example: Example, error: str) -> Asked:
    answer = Answer(example.family, example.effort, is_right=False, has_ended=False, error=error)
    return Asked(example, answer, None)


def _complaint(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return response.text


async def drafting(http: httpx.AsyncClient) -> Drafting:
    """What the engines' counters say once they stand still.

    An engine counts its last step a moment after the answer is out: they are read until two readings agree.
    Raises TimeoutError if they go on rising: somebody else is asking too.
    """
    last = counters(await _metrics(http))
    for _ in range(SETTLE_ATTEMPTS):
        await asyncio.sleep(SETTLE_PERIOD_S)
        now = counters(await _metrics(http))
        if now == last:
            return now
        last = now
    raise TimeoutError("the engines' counters do not come to rest; does somebody else ask them too?")


async def _metrics(http: httpx.AsyncClient) -> str:
    return (await http.get("/metrics")).raise_for_status().text


def counters(metrics: str) -> Drafting:
    """The counters of all engines together, out of Prometheus' text."""
    sums: dict[str, float] = {}
    at: dict[int, float] = {}
    for family in text_string_to_metric_families(metrics):
        if not family.name.startswith(COUNTERS):
            continue
        for sample in family.samples:
            name = sample.name.removeprefix(COUNTERS)
            if name == "accepted_tokens_per_pos_total":
                position = int(sample.labels["position"])
                at[position] = at.get(position, 0.0) + sample.value
            else:
                sums[name] = sums.get(name, 0.0) + sample.value
    return Drafting(
        sums.get("drafts_total", 0.0),
        sums.get("accepted_tokens_total", 0.0),
        tuple(at[position] for position in sorted(at)),
    )
