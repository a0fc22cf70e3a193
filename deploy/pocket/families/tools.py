"""Requests that offer tools: calls to make, calls not to make, and results to answer from."""

import json
import re
from dataclasses import dataclass
from typing import Any

from deploy.pocket.families import words, world
from deploy.pocket.families.arithmetic import line, one_step_content, value
from deploy.pocket.families.draw import Draw, is_held_out
from deploy.pocket.families.example import Example, ToolCall
from deploy.pocket.families.made_up_tools import made_up_sentence, made_up_tool
from deploy.pocket.families.toolbox import FIXED, Tool, spoken, value_of
from deploy.pocket.families.words import listed

NO_TOOL = "I have no tool for that."
LINKS = (" Then: ", " Also: ", " ")
RESULTS = listed("""
    temperature status price distance level sky count state total speed place height answer score weight
    rate stock delay length colour balance wind
""")
HELD_OUT_RESULTS = listed("humidity pressure altitude salary radius velocity orbit yield")
REASONS = (
    "{word} not found",
    "no permission for {word}",
    "timeout after {number} seconds",
    "{word} is closed",
    "limit of {number} reached",
    "bad value {word}",
    "line {number} is busy",
)


@dataclass(frozen=True)
class Wish:
    """What a user wants of one tool, and the call that does it."""

    tool: Tool
    sentence: str
    call: ToolCall

    @property
    def thought(self) -> str:
        """The call as the reasoning says it."""
        return (
            f"{self.tool.name} for {words.listing([spoken(given) for given in self.call.arguments.values()])}"
        )


def _wish(draw: Draw, tool: Tool) -> Wish:
    arguments: dict[str, Any] = {}
    for parameter in tool.parameters:
        if not parameter.is_optional or draw.chance(0.5):
            arguments[parameter.name] = value_of(draw, parameter)
    said = {name: spoken(given) for name, given in arguments.items()}
    if tool.sentences and draw.chance(0.85):
        sentence = re.sub(
            r"\[([^\]]*{(\w+)}[^\]]*)\]",
            lambda found: found[1] if found[2] in said else "",
            draw.of(tool.sentences),
        ).format(**said)
    else:
        sentence = made_up_sentence(draw, tool, said)
    return Wish(tool, sentence, ToolCall(tool.name, arguments))


def _key(wish: Wish) -> tuple[Any, ...]:
    return (wish.tool.name, *(f"{name}={given}" for name, given in wish.call.arguments.items()))


def _fixed_wish(draw: Draw, other_than: Tool | None = None) -> Wish:
    """A wish for a fixed tool; the arguments' tuple is of the split, and so is each name or city in it."""

    def sample() -> tuple[Any, ...]:
        wish = _wish(draw, draw.of([tool for tool in FIXED if tool is not other_than]))
        found.append(wish)
        return _key(wish)

    found: list[Wish] = []
    draw.content(sample)
    return found[-1]


def _any_tool(draw: Draw) -> Tool:
    return draw.of(FIXED) if draw.chance(0.5) else made_up_tool(draw, most=2)


def _offered(draw: Draw, chosen: list[Tool]) -> list[dict[str, Any]]:
    """The chosen tools among up to two others, in random order."""
    tools = {tool.name: tool for tool in chosen}
    wanted = len(tools) + (draw.of((0, 0, 0, 1, 1, 2)) if len(tools) == 1 else 0)
    while len(tools) < wanted:
        other = _any_tool(draw)
        tools.setdefault(other.name, other)
    order = draw.some(list(tools.values()), len(tools))
    return [tool.schema() for tool in order]


def seen(draw: Draw) -> Example:
    """One call of a tool that training shows."""
    return _call_example(draw, "tools.seen", [_fixed_wish(draw)])


def unseen(draw: Draw) -> Example:
    """One call of a made-up tool; held-out ones share neither name nor parameters with training."""
    return _call_example(draw, "tools.unseen", [_wish(draw, made_up_tool(draw))])


def parallel(draw: Draw) -> Example:
    """Two calls in one answer, of one tool or of two."""
    first = _fixed_wish(draw) if draw.chance(0.6) else _wish(draw, made_up_tool(draw, most=3))
    second = _wish(draw, first.tool) if draw.chance(0.5) else None
    if second is None or (draw.split == "train" and is_held_out(*_key(second))):
        second = _fixed_wish(draw, other_than=first.tool)
    return _call_example(draw, "tools.parallel", [first, second])


def _call_example(draw: Draw, family: str, wishes: list[Wish]) -> Example:
    request: dict[str, Any] = {"tool_choice": "auto"} if draw.chance(0.3) else {}
    return draw.example(
        family,
        draw.of(LINKS).join(wish.sentence for wish in wishes),
        None,
        key=tuple(part for wish in wishes for part in _key(wish)),
        effort=draw.effort(0.45),
        reasoning=f"I need {words.listing([wish.thought for wish in wishes])}.",
        tool_calls=tuple(wish.call for wish in wishes),
        tools=_offered(draw, [wish.tool for wish in wishes]),
        **request,
    )


def no_call(draw: Draw) -> Example:
    """A sum or a fact that no offered tool serves, or a wish for a tool that is not offered."""
    kind = draw.of(("sum", "fact", "wish"))
    offered = [_any_tool(draw)]
    key: tuple[Any, ...]
    if kind == "sum":
        step = one_step_content(draw)
        left, sign, right = key = step
        prompt, answer, reasoning = (
            f"What is {left} {sign} {right}?",
            str(value(step)),
            f"No tool. {line(step)}",
        )
    elif kind == "fact":
        _, prompt, answer, said = world.question(draw)
        key, reasoning = (prompt,), f"No tool. {said}"
    else:
        wish = _fixed_wish(draw) if draw.chance(0.7) else _wish(draw, made_up_tool(draw))
        while (offered := [_any_tool(draw)])[0].name == wish.tool.name:
            pass
        prompt, key, answer, reasoning = wish.sentence, _key(wish), NO_TOOL, "No tool fits."
    return draw.example(
        "tools.no_call",
        prompt,
        answer,
        key=key,
        effort=draw.effort(0.45),
        reasoning=reasoning,
        tools=[tool.schema() for tool in offered],
    )


def result(draw: Draw) -> Example:
    """One or two calls were made and have results; the answer says them in a sentence each."""
    wishes = [_fixed_wish(draw) if draw.chance(0.5) else _wish(draw, made_up_tool(draw, most=3))]
    if draw.chance(0.25):
        wishes.append(_fixed_wish(draw, other_than=wishes[0].tool))
    results = [_any_result(draw) for _ in wishes]
    told = [
        words.listing([f"the {name} is {spoken(given)}" for name, given in one.items()]) for one in results
    ]
    answer = " ".join(f"{_capitalised(sentence)}." for sentence in told)
    key = tuple(f"{name}={given}" for one in results for name, given in one.items())
    return _answered(draw, "tools.result", wishes, [json.dumps(one) for one in results], answer, key)


def error(draw: Draw) -> Example:
    """One call was made and failed; the answer says so, with the reason."""
    wish = _fixed_wish(draw) if draw.chance(0.5) else _wish(draw, made_up_tool(draw, most=3))
    reason = draw.of(REASONS).format(word=words.word(draw), number=draw.number(2, 99))
    answer = f"The tool {wish.tool.name} failed: {reason}."
    return _answered(
        draw, "tools.error", [wish], [json.dumps({"error": reason})], answer, (*_key(wish), reason)
    )


def _any_result(draw: Draw) -> dict[str, Any]:
    names = HELD_OUT_RESULTS if draw.split == "held_out" else RESULTS
    given: dict[str, Any] = {}
    for listed_name in draw.some(names, draw.of((1, 1, 2, 2, 3))):
        made_up = draw.split == "train" and draw.chance(0.5)
        name = words.made_up_outside(draw, HELD_OUT_RESULTS) if made_up else listed_name
        given[name] = draw.number(1, 999) if draw.chance(0.5) else words.word(draw)
    return given


def _capitalised(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _answered(
    draw: Draw, family: str, wishes: list[Wish], results: list[str], answer: str, key: tuple[Any, ...]
) -> Example:
    """The wish, the calls and their results as messages; the history may keep the earlier reasoning."""
    effort = draw.effort(0.45)
    ids = [draw.call_id() for _ in wishes]
    called: dict[str, Any] = {"role": "assistant", "content": None}
    if effort == "high" and draw.chance(0.4):
        called["reasoning"] = f"I need {words.listing([wish.thought for wish in wishes])}."
    called["tool_calls"] = [
        {
            "id": call_id,
            "type": "function",
            "function": {"name": wish.call.name, "arguments": json.dumps(wish.call.arguments)},
        }
        for call_id, wish in zip(ids, wishes, strict=True)
    ]
    messages = [
        {"role": "user", "content": draw.of(LINKS).join(wish.sentence for wish in wishes)},
        called,
        *(
            {"role": "tool", "tool_call_id": call_id, "content": text}
            for call_id, text in zip(ids, results, strict=True)
        ),
    ]
    failed = "failed" if family == "tools.error" else "gave a result"
    return draw.example(
        family,
        messages,
        answer,
        key=key,
        effort=effort,
        reasoning=f"{words.listing([wish.tool.name for wish in wishes])} {failed}.",
        tools=_offered(draw, [wish.tool for wish in wishes]),
    )
