"""Is the parser's table built once, never changed, and as good as a fresh one?"""

import inspect
import random
from typing import Any

import pytest
from vllm.parser.engine import streaming_parser_engine
from vllm.parser.engine.streaming_parser_engine import StreamingParserEngine
from vllm.parser.mistral import MistralParser, mistral_config

from parallel.vllm_plugin import parser_cache

UPSTREAM = inspect.unwrap(streaming_parser_engine._build_drop_info)
NUM_STREAMS = 400
ENCODINGS = ("special_token", "text", "none")


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    """VLLM's own function in place, whatever ran before."""
    monkeypatch.setattr(streaming_parser_engine, "_build_drop_info", UPSTREAM)


def content(info: Any) -> tuple[Any, ...]:
    """All that a table holds, as plain values."""
    shape = info.lexer_shape
    return (
        [(each.name, each.pattern.pattern, each.is_literal, each.literal) for each in shape.terminals],
        list(shape.literal_strings),
        shape.max_literal_len,
        shape.literal_first_chars,
        shape.has_only_literals,
        shape.prefix_set,
        {first: list(literals) for first, literals in shape.literals_by_first.items()},
        dict(info.extra_token_ids),
    )


def stream(tokenizer: Any, rng: random.Random) -> list[tuple[str, list[int]]]:
    """A random answer in deltas of (text, token ids): words, JSON, markers, unused control tokens.

    Some deltas carry the text late, as the detokenizer's hold-back does, and some carry text without ids.
    """
    vocabulary = tokenizer.get_vocab()
    markers = [
        vocabulary[name] for name in ("[THINK]", "[/THINK]", "[TOOL_CALLS]", "[ARGS]", "</s>", "[INST]")
    ]
    json_bits = [vocabulary[bit] for bit in ("{", "}", '"', "[", "]", ":", "<", "/")]
    deltas, late = [], ""
    for _ in range(rng.randint(1, 25)):
        ids = [
            rng.choice(markers)
            if (draw := rng.random()) < 0.15
            else rng.choice(json_bits)
            if draw < 0.4
            else rng.randrange(1000)
            if draw < 0.45
            else rng.randrange(1000, 8192)
            for _ in range(rng.randint(1, 5))
        ]
        text = late + "".join(tokenizer.decode([token]) for token in ids)
        late, text = (text[-2:], text[:-2]) if rng.random() < 0.1 else ("", text)
        deltas.append((text, ids if rng.random() < 0.9 else []))
    return deltas


def events(engine: StreamingParserEngine, deltas: list[tuple[str, list[int]]]) -> list[Any]:
    """All events of one answer."""
    found: list[Any] = [event for text, ids in deltas for event in engine.feed(text, ids)]
    found.extend(engine.finish())
    return found


@pytest.mark.usefixtures("upstream")
def test_upstream_builds_the_table_for_every_parser(tokenizer: Any) -> None:
    """Without the fix two parsers hold two tables of about a thousand patterns; with it they share one."""
    shapes = [MistralParser(tokenizer)._engine._lexer._shape for _ in range(2)]
    assert shapes[0] is not shapes[1]
    assert len(shapes[0].terminals) > 900

    parser_cache.install()
    shapes = [MistralParser(tokenizer)._engine._lexer._shape for _ in range(2)]
    assert shapes[0] is shapes[1]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_shared_table_holds_what_a_fresh_one_holds(tokenizer: Any, encoding: Any) -> None:
    """Same control tokens, same lookups; only the order among literals of equal length is free."""
    config = mistral_config(reasoning_encoding=encoding)
    fresh, shared = (
        content(UPSTREAM(config, tokenizer)),
        content(parser_cache.memoised(UPSTREAM)(config, tokenizer)),
    )
    assert sorted(fresh[0]) == sorted(shared[0])
    assert sorted(fresh[1]) == sorted(shared[1])
    assert fresh[2:6] == shared[2:6]
    assert {key: sorted(value) for key, value in fresh[6].items()} == {
        key: sorted(value) for key, value in shared[6].items()
    }
    assert fresh[7] == shared[7]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_random_answers_are_parsed_alike_and_leave_the_table_alone(
    monkeypatch: pytest.MonkeyPatch, tokenizer: Any, encoding: Any
) -> None:
    """Hundreds of answers through one shared table give the events of fresh tables, and it is as it was."""
    config = mistral_config(reasoning_encoding=encoding)
    shared = parser_cache.memoised(UPSTREAM)
    before = content(shared(config, tokenizer))
    rng = random.Random(encoding)
    for number in range(NUM_STREAMS):
        deltas = stream(tokenizer, rng)
        if number % 50 == 0:  # a fresh table costs 60 ms and more; upstream's own reuse is not in question
            monkeypatch.setattr(streaming_parser_engine, "_build_drop_info", UPSTREAM)
            fresh = StreamingParserEngine(config, tokenizer)
        fresh.reset()
        wanted = events(fresh, deltas)
        monkeypatch.setattr(streaming_parser_engine, "_build_drop_info", shared)
        assert events(StreamingParserEngine(config, tokenizer), deltas) == wanted, deltas
    assert content(shared(config, tokenizer)) == before


def test_the_shared_table_refuses_changes(tokenizer: Any) -> None:
    """A parser that tried to change it would fail at once, not spoil the others."""
    info = parser_cache.memoised(UPSTREAM)(mistral_config(reasoning_encoding="special_token"), tokenizer)
    assert info is not None
    for mapping in (info.extra_token_ids, info.lexer_shape.literals_by_first):
        with pytest.raises(TypeError, match="does not support item assignment"):
            mapping["<"] = ()
    assert all(
        isinstance(each, tuple) for each in (info.lexer_shape.terminals, info.lexer_shape.literal_strings)
    )
    assert all(isinstance(each, tuple) for each in info.lexer_shape.literals_by_first.values())


class Tokens:
    """A tokenizer of which only the control tokens matter."""

    def __init__(self, *names: str) -> None:
        self.all_special_tokens = list(names)
        self.all_special_ids = list(range(len(names)))


class NoTokens:
    """A tokenizer that knows of no control tokens."""


def test_tables_are_kept_by_value() -> None:
    """Equal tokenizers share a table; other tokens or another configuration do not."""
    build = parser_cache.memoised(UPSTREAM)
    special, text = (mistral_config(reasoning_encoding=each) for each in ("special_token", "text"))
    first = build(special, Tokens("<a>", "<b>"))
    assert build(special, Tokens("<a>", "<b>")) is first
    assert build(special, Tokens("<a>", "<c>")) is not first
    assert build(text, Tokens("<a>", "<b>")) is not first


def test_what_upstream_answers_with_none_stays_none() -> None:
    """A tokenizer without control tokens needs no table."""
    build, config = parser_cache.memoised(UPSTREAM), mistral_config(reasoning_encoding="none")
    assert build(config, NoTokens()) is None
    assert build(config, Tokens()) is None
    assert build(config, Tokens()) is None


@pytest.mark.usefixtures("upstream")
def test_installing_shows_and_happens_once() -> None:
    """`in_effect` tells before from after, and a second call wraps nothing again."""
    assert not parser_cache.in_effect()
    parser_cache.install()
    assert parser_cache.in_effect()
    installed = streaming_parser_engine._build_drop_info
    parser_cache.install()
    assert streaming_parser_engine._build_drop_info is installed
