"""What does the backend of vLLM make of a grammar?"""

from typing import Any


def matcher(tokenizer: Any, structured: Any) -> Any:
    """Return llguidance's matcher for `structured`, vLLM's StructuredOutputsParams."""
    from llguidance import LLMatcher
    from vllm.v1.structured_output.backend_guidance import serialize_guidance_grammar
    from vllm.v1.structured_output.backend_types import StructuredOutputOptions

    if structured.grammar is not None:
        kind, grammar = StructuredOutputOptions.GRAMMAR, structured.grammar
    elif structured.json_object:
        kind, grammar = StructuredOutputOptions.JSON_OBJECT, ""
    else:
        kind, grammar = StructuredOutputOptions.JSON, structured.json
    made = LLMatcher(tokenizer.llg_tokenizer, serialize_guidance_grammar(kind, grammar))
    assert not made.get_error()
    return made
