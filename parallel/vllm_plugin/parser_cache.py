"""Why is the parser's table of control tokens built once, not once for every parser?

Reason: vLLM makes several parsers for every chat request, and each compiles one regular expression for each
of the tokenizer's 1,000 control tokens. The table depends on the tokenizer and on the parser's configuration
only.
Upstream symptom: no error. Every request holds the API server's event loop for 50-70 ms several times over,
so that the server answers two to three requests a second whatever the concurrency and the hardware.
No longer needed when: two calls of `_build_drop_info` with the same arguments take less than a millisecond
together.
"""

import functools
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from vllm.parser.engine import streaming_parser_engine
from vllm.parser.engine.parser_engine_config import ParserEngineConfig
from vllm.parser.engine.streaming_parser_engine import _DropInfo

BuildDropInfo = Callable[[ParserEngineConfig, Any], _DropInfo | None]


def memoised(build: BuildDropInfo) -> BuildDropInfo:
    """`build` with its results kept, read-only, under the values it reads (never under object identities)."""
    kept: dict[tuple[object, ...], _DropInfo | None] = {}

    @functools.wraps(build)
    def build_once(config: ParserEngineConfig, tokenizer: Any) -> _DropInfo | None:
        try:
            tokens, ids = tuple(tokenizer.all_special_tokens), tuple(tokenizer.all_special_ids)
        except (AttributeError, NotImplementedError):
            return build(
                config, tokenizer
            )  # a tokenizer without such a list: upstream decides what that means
        key = (
            tokens,
            ids,
            tuple(config.terminals.items()),
            frozenset(config.token_id_terminals.values()),
            config.preserve_tokens,
        )
        if key not in kept:
            kept[key] = read_only(build(config, tokenizer))
        return kept[key]

    return build_once


def read_only(info: _DropInfo | None) -> _DropInfo | None:
    """The same table with containers that refuse changes: all parsers of the process will share it."""
    if info is None:
        return None
    shape = info.lexer_shape
    shape.terminals = tuple(shape.terminals)
    shape.literal_strings = tuple(shape.literal_strings)
    shape.literals_by_first = MappingProxyType(
        {first: tuple(all_) for first, all_ in shape.literals_by_first.items()}
    )
    info.extra_token_ids = MappingProxyType(info.extra_token_ids)
    return info


def in_effect() -> bool:
    """Whether parsers made in this process share one table."""
    build = streaming_parser_engine._build_drop_info
    return getattr(build, "__code__", None) is memoised(build).__code__


def install() -> None:
    """Make every parser of this process use the shared table."""
    if not in_effect():
        streaming_parser_engine._build_drop_info = memoised(streaming_parser_engine._build_drop_info)
