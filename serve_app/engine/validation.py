"""What does a client hear of a body that vLLM's types refuse? The field, the rule and the value, in one line.

Reason: vLLM repeats all that pydantic has tried; of an item that may be one of thirty types that is a lot.

Upstream symptom (vLLM 0.29.0): a wrong part in the input of /v1/responses is answered by "241 validation
errors" in 50 kB.

No longer needed when: `tests/serve_app/engine/test_validation.py` passes without `install`.
"""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import JSONResponse

MAX_RULES = 3
MAX_VALUE = 80
"""Characters of a value that are repeated."""


def install(app: FastAPI) -> None:
    """Answer in place of the handler that vLLM's app has."""
    app.add_exception_handler(RequestValidationError, answered)
    # vLLM's app comes with its middleware built already, around the handlers that it had then.
    app.middleware_stack = app.build_middleware_stack()


async def answered(_: Request, error: Exception) -> JSONResponse:
    """400 in OpenAI's shape."""
    from vllm.entrypoints.serve.exception_handling.error_response import create_error_response

    assert isinstance(error, RequestValidationError)
    param, message = sentence(error.errors(), error.body)
    return JSONResponse(create_error_response(message, param=param).model_dump(), status_code=400)


def sentence(errors: Sequence[Any], body: object) -> tuple[str | None, str]:
    """The field and what to say of it, from pydantic's errors on a body.

    Of types that an item may have, the one that got furthest into the body is what was meant.
    """
    for error in errors:
        parameter = getattr(error.get("ctx", {}).get("error"), "parameter", None)
        if parameter is not None:
            return parameter, _rule(error)
    places = [_place(error["loc"], body) for error in errors]
    deepest = max(map(len, places), default=0)
    found = [pair for pair in zip(places, errors, strict=True) if len(pair[0]) == deepest]
    # Where an item says its type, the other types' rules are none of its business.
    others = {error["loc"][:-1] for _, error in found if _is_about_type(error)}
    meant = [pair for pair in found if pair[1]["loc"][:-1] not in others] or found
    chosen = meant[0][0] if meant else ()
    those = [error for place, error in meant if place == chosen]
    rules = list(dict.fromkeys(map(_rule, those)))
    said = "; or: ".join(rules[:MAX_RULES]) + ("; or others" if len(rules) > MAX_RULES else "")
    param = ".".join(map(str, chosen)) or None
    if param is None or not those:
        return None, said or "the body is not valid"
    if all(error["type"] == "missing" for error in those):
        return param, f"{param}: {said}"
    return param, f"{param}: {said}, not {those[0]['input']!r:.{MAX_VALUE}}"


def _is_about_type(error: Any) -> bool:
    return bool(error["loc"][-1:] == ("type",) and error["type"] == "literal_error")


def _rule(error: Any) -> str:
    return str(error["msg"]).removeprefix("Value error, ")


def _place(loc: Sequence[str | int], body: object) -> tuple[str | int, ...]:
    """The part of `loc` that is a path in the body: between its keys stand the types that were tried."""
    place: list[str | int] = []
    steps = loc[1:] if loc[:1] == ("body",) else loc
    for number, step in enumerate(steps, 1):
        is_item = isinstance(body, list) and isinstance(step, int) and step < len(body)
        if is_item or (isinstance(body, dict) and step in body):
            body = body[step]  # type: ignore[index]
        elif not (isinstance(body, dict) and number == len(steps) and str(step).isidentifier()):
            continue  # a type; but a key at the very end is one that is missing
        place.append(step)
    return tuple(place)
