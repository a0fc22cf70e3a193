"""What must an answer be, where a request demands JSON, a tool, or both?

JSON of `json_object` is an object. A demanded tool is called, and nothing said before it. Where tools may be
called and JSON is demanded, the answer is calls or JSON.

Reason: in chat vLLM takes an array for an object, and mistral-common allows text beside JSON where tools may
be called, text of any length before calls, and calls of tools that there are not. In messages vLLM lets tools
be called though there are none. In responses it makes no grammar of `tool_choice`, and with one of JSON no
tool can be called.

Upstream symptom (vLLM 0.29.0): a chat with `response_format: {"type": "json_object"}` answers an array, one
with `tools` and a schema in prose, and one with `tool_choice: "required"` may use up its tokens in text. A
response with `tool_choice: "required"` answers in text, and one with `tools` and `text.format` never calls. A
message with `output_config.format` and no tools answers in prose.

No longer needed when: `tests/serve_app/engine/test_demands.py` passes without `install`.
"""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

ANY_OBJECT = {"type": "object"}
ANY_JSON = {"type": ["object", "array", "string", "number", "boolean", "null"]}
"""What an empty schema allows; mistral-common takes that for no schema."""

_CALLS_AFTER_TEXT, _CALLS = "\nfcalls: content? ", "\nfcalls: "
"""How a grammar of mistral-common begins its rule for calls, and how it does without text before them."""


def install(tokenizer: Any) -> None:
    """Mend chat and responses of this process's vLLM; calling it again changes nothing."""
    from mistral_common.guidance.grammar_factory import GrammarFactory
    from vllm.entrypoints.openai.responses.protocol import ResponsesRequest
    from vllm.parser import mistral

    mistral._DEFAULT_JSON_SCHEMA = ANY_OBJECT
    if not hasattr(GrammarFactory.get_lark_from_jinja, "__wrapped__"):
        GrammarFactory.get_lark_from_jinja = of_calls_and_json(GrammarFactory.get_lark_from_jinja)
        ResponsesRequest.extract_structured_outputs = of_responses(
            ResponsesRequest.extract_structured_outputs, tokenizer.grammar_factory
        )


def of_calls_and_json(lark: Callable[..., str]) -> Callable[..., str]:
    """Wrap mistral-common's making of a grammar: where something is demanded there is nothing else."""
    from mistral_common.protocol.instruct.tool_calls import ToolChoiceEnum

    @wraps(lark)
    def made(factory: Any, *, mode: Any, tools: Any, json_schema: Any, **given: Any) -> str:
        schema = ANY_JSON if json_schema == {} else json_schema
        if mode == ToolChoiceEnum.auto and schema is not None and not tools:
            json_alone: str = factory.get_lark_for_json_schema(template=given["template"], json_schema=schema)
            return json_alone
        if mode == ToolChoiceEnum.none or (mode == ToolChoiceEnum.auto and schema is None):
            return lark(factory, mode=mode, tools=tools, json_schema=schema, **given)
        if mode == ToolChoiceEnum.auto:
            mode = ToolChoiceEnum.required
        else:
            schema = None
        grammar = lark(factory, mode=mode, tools=_by_name(tools), json_schema=schema, **given)
        # Text before a call would be whatever the model would rather say, and broken JSON besides.
        return grammar.replace(_CALLS_AFTER_TEXT, _CALLS)

    return made


def _by_name(tools: Any) -> Any:
    """Mistral-common's tools as it takes their names at their word; arguments are as free as they were."""
    strict = {"strict": True, "parameters": ANY_OBJECT}
    return tools and [
        tool
        if tool.function.strict
        else tool.model_copy(update={"function": tool.function.model_copy(update=strict)})
        for tool in tools
    ]


def of_responses(extract: Callable[[Any], Any], factory: Any) -> Callable[[Any], Any]:
    """Wrap vLLM's reading of a response's demands: tools count, as in chat."""
    from mistral_common.protocol.instruct.tool_calls import (
        FunctionName,
        NamedToolChoice,
        Tool,
        ToolChoiceEnum,
    )
    from vllm.entrypoints.openai.responses.utils import construct_tool_dicts
    from vllm.sampling_params import StructuredOutputsParams

    @wraps(extract)
    def extracted(request: Any) -> Any:
        asked, choice = extract(request), request.tool_choice
        schema = _schema(asked)
        if not request.tools or choice == "none" or (schema is None and (asked or choice == "auto")):
            return asked
        if isinstance(choice, str):
            mode: Any = ToolChoiceEnum(choice)
        else:
            mode = NamedToolChoice(function=FunctionName(name=choice.name))
        return StructuredOutputsParams(
            grammar=factory.get_lark_from_jinja(
                template=factory.select_jinja_template(),
                mode=mode,
                tools=[Tool.from_openai(tool) for tool in construct_tool_dicts(request.tools, choice) or ()],
                json_schema=schema,
                parallel_tool_calls=request.parallel_tool_calls is not False,
            )
        )

    return extracted


def _schema(asked: Any) -> Any:
    """The schema that vLLM's StructuredOutputsParams demand; None if they demand no JSON."""
    if asked is None or asked.json_object:
        return asked and ANY_OBJECT
    return json.loads(asked.json) if isinstance(asked.json, str) else asked.json
