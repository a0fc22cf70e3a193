"""When is an answer right?"""

from typing import Any

import pytest

from serve_app.conformance.answer import Answer, Call, Finish, Usage
from serve_app.conformance.cases import CASES, RAW, lengthy

PARIS = Call("get_weather", {"unit": "celsius", "city": "Paris"})
OSLO = Call("get_time", {"city": "Oslo"})
BY_NAME = {case.name: case for case in CASES}


def wrong(name: str, text: str = "", *calls: Call, effort: str = "none", **fields: Any) -> str | None:
    """What is wrong with an answer to the case of that name."""
    finish: Finish = fields.get("finish", "tool_calls" if calls else "stop")
    return BY_NAME[name].wrong(Answer(text, fields.get("reasoning", ""), calls, finish, Usage(1, 9)), effort)


@pytest.mark.parametrize(
    ("name", "text", "calls"),
    [
        ("plain", "42", ()),
        ("plain", "17 + 25 = 42.", ()),
        ("tool", "", (PARIS,)),
        ("tool", "I look it up.", (PARIS,)),
        ("parallel", "", (PARIS, OSLO)),
        ("parallel", "", (OSLO, PARIS)),
        ("result", "It is 21 degrees.", ()),
        ("schema", ' {"age": 34, "name": "Alice"}\n', ()),
        ("image", "The circle is Red.", ()),
        ("turns", "Your name is ALICE!", ()),
    ],
)
def test_right(name: str, text: str, calls: tuple[Call, ...]) -> None:
    """Answers that say it in whichever words."""
    assert wrong(name, text, *calls) is None


@pytest.mark.parametrize(
    ("name", "text", "calls", "said"),
    [
        ("plain", "1742", (), "says '1742', not '42'"),
        ("plain", "", (), "says '', not '42'"),
        ("image", "", (PARIS,), "calls (Call(name='get_weather'"),
        ("tool", "It is sunny.", (), "answers 'It is sunny.' instead of get_weather"),
        (
            "tool",
            "",
            (Call("get_weather", {"city": "Paris"}),),
            'answers get_weather {"city": "Paris"} instead',
        ),
        ("tool", "", (PARIS, PARIS), "instead of get_weather"),
        ("parallel", "", (PARIS,), "instead of get_weather"),
        ("schema", '{"name": "Alice"}', (), "says {'name': 'Alice'}, not {'name': 'Alice', 'age': 34}"),
        ("schema", "```json\n{}\n```", (), "which is no JSON"),
        ("turns", "I do not know.", (), "not 'Alice'"),
    ],
)
def test_wrong(name: str, text: str, calls: tuple[Call, ...], said: str) -> None:
    """Answers that do not, with what they say."""
    found = wrong(name, text, *calls)
    assert found is not None
    assert said in found


def test_ends_and_reasons() -> None:
    """An answer that was cut off is not right, nor one at high without reasoning."""
    assert wrong("plain", "42", finish="length") == "not ended after 9 tokens: '42'"
    assert wrong("plain", "42", effort="high") == "no reasoning at effort high"
    assert wrong("plain", "42", effort="high", reasoning="17 + 25 = 42") is None


def test_raw_and_lengthy() -> None:
    """Nothing is owed to a raw prompt; a lengthy one has as many words as it should have tokens."""
    assert RAW.wrong(Answer("?", "", (), "length", Usage(1, 16)), "-") is None
    (said,) = lengthy(1000).turns
    assert len(getattr(said, "text", "").split()) == 1000
