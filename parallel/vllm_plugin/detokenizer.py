"""How do the tokens of an answer become text without decoding each one twice?

Reason: for tokenizers that are not Hugging Face's, vLLM's detokenizer decodes the last tokens anew for every
token, and copies the list of all tokens before. Nearly every token of Mistral's tokenizer is whole characters
whatever stands before it, so its text can be looked up.
Upstream symptom: no error. A token costs several microseconds of the API server's event loop, and more the
longer the answer is.
No longer needed when: `IncrementalDetokenizer.from_new_request` gives Mistral's tokenizer a detokenizer other
than `SlowIncrementalDetokenizer`.

Whatever is not whole characters (parts of one, control tokens, ids that there are not) goes the way it went.
"""

from functools import cache
from typing import Any

from vllm.tokenizers.mistral import MistralTokenizer
from vllm.v1.engine import detokenizer
from vllm.v1.engine.detokenizer import SlowIncrementalDetokenizer

REPLACEMENT = "\ufffd"
"""What stands for bytes that are no character; vLLM waits for more bytes wherever a text ends in it."""


class Pieces(dict[int, str]):
    """The text of each token that is whole characters, "" for any other; filled as they are asked for."""

    def __init__(self, tokenizer: MistralTokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, token: int) -> str:
        """Look the token up in the tokenizer."""
        self[token] = piece = self._piece(token)
        return piece

    def _piece(self, token: int) -> str:
        tokenizer = self._tokenizer
        if not 0 <= token < len(tokenizer) or tokenizer._is_special_token_id(token):
            return ""
        piece: str = tokenizer.tokenizer.id_to_piece(token)
        is_plain = REPLACEMENT not in piece and piece not in tokenizer._special_tokens_set
        return piece if is_plain else ""


pieces = cache(Pieces)
"""The table of a tokenizer: all requests of a process share it."""


class LookupDetokenizer(SlowIncrementalDetokenizer):
    """vLLM's own, with the texts of plain tokens looked up.

    Where no token waits for more bytes, vLLM's text for a plain token is the token's own: whatever stands
    before it ends where it begins. To what follows, that token is then all that matters.
    """

    tokens: list[str | bytes]
    read_offset: int

    def __init__(self, tokenizer: MistralTokenizer, request: Any) -> None:
        super().__init__(tokenizer, request)
        self._pieces = pieces(tokenizer)

    def decode_next(self, next_token_id: int) -> str:
        """Return the text that this token adds."""
        piece = self._pieces[next_token_id]
        if not piece or self.read_offset != len(self.tokens):
            text: str = super().decode_next(next_token_id)
            return text
        self.tokens, self.prefix_offset, self.read_offset = [piece], 0, 1
        return piece


def of_tokenizer(tokenizer: Any, request: Any) -> SlowIncrementalDetokenizer:
    """Return the detokenizer of a request: ours for Mistral's tokenizer over bytes, vLLM's for any other."""
    is_tekken = isinstance(tokenizer, MistralTokenizer) and tokenizer.is_tekken
    return (LookupDetokenizer if is_tekken else SlowIncrementalDetokenizer)(tokenizer, request)


def in_effect() -> bool:
    """Whether requests of this process get our detokenizer."""
    return detokenizer.SlowIncrementalDetokenizer is of_tokenizer


def install() -> None:
    """Give every request of this process that detokenizer."""
    vars(detokenizer)["SlowIncrementalDetokenizer"] = of_tokenizer
