"""What does the OpenAPI document say? What an engine says of bodies, and what the ingress makes of them."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serve_app.config import Ingress, Model
from serve_app.errors import ApiError
from serve_app.ingress import effort, unsupported
from serve_app.ingress.dialects import DIALECTS, Dialect
from serve_app.ingress.shapes import Shape

Tree = dict[str, Any]

PATH = "/openapi.json"
"""Also of the engine's own document."""

ABOUT = "One model with two speeds: the effort of a request decides how much the model reasons, and where."
ANSWER_HEADERS = {
    "x-request-id": "the request's id, the client's own where it sent one",
    "x-venturi-pool": "the pool that answered",
    "x-venturi-replica": "the replica that answered",
    "x-venturi-reason": "why it was this one",
    "x-venturi-effort": "the effort that was applied",
}
OPEN_PATHS = ("/health", "/ready", "/metrics")
"""What answers without a key: probes and scrapers seldom have one, and it has nothing of a request in it."""
EVENT_STREAMS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages")

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "the field that is wrong"},
                "code": {"type": ["string", "integer", "null"]},
            },
        }
    },
}
_ANTHROPIC_ERROR = {
    "type": "object",
    "required": ["type", "error"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
        },
    },
}


def of(app: FastAPI, model: Model, limits: Ingress, engines: Mapping[str, Any]) -> Tree:
    """Return the document of `app`.

    `engines` is that of an engine, which has the bodies of all dialects; where it has none, a body is any
    object. Fields that are refused here are left out of it.
    """
    tree = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
    schemas: Tree = {"Error": _ERROR, "AnthropicError": _ANTHROPIC_ERROR}
    for dialect in DIALECTS:
        tree["paths"][dialect.path]["post"] |= _operation(dialect, model, limits, engines, schemas)
    for path, operations in tree["paths"].items():
        for operation in operations.values():
            # FastAPI's own answer to bad parameters; our routes take any.
            operation["responses"].pop("422", None)
            if path not in OPEN_PATHS:
                operation["responses"] |= _errors(_shape(path))
    tree["components"] = {
        "schemas": schemas,
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        },
    }
    tree["security"] = [{}, {"bearer": []}, {"x-api-key": []}]
    return tree


def _operation(
    dialect: Dialect, model: Model, limits: Ingress, engines: Mapping[str, Any], schemas: Tree
) -> Tree:
    theirs = engines.get("paths", {}).get(dialect.path, {}).get("post", {})
    body: Tree = theirs.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = copy.deepcopy(body.get("schema", {"type": "object"}))
    names = sorted(limits.efforts.of(dialect.name))
    for name in _named(schema):
        _as_here(_copy(name, engines, schemas), dialect, model, names)
    ahead, seen = set(_named(schema)), set[str]()
    while ahead:
        seen |= ahead
        ahead = {n for name in ahead for n in _named(_copy(name, engines, schemas))} - seen
    content: Tree = {"application/json": {"schema": {"type": "object"}}}
    if dialect.path in EVENT_STREAMS:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    headers = {
        name: {"description": why, "schema": {"type": "string"}} for name, why in ANSWER_HEADERS.items()
    }
    return {
        "parameters": [
            {
                "name": effort.HEADER,
                "in": "header",
                "description": "the effort, where the body does not say it",
                "schema": {"enum": names},
            }
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": {"description": "The answer", "headers": headers, "content": content}},
    }


def _as_here(schema: Tree, dialect: Dialect, model: Model, efforts: list[str]) -> None:
    """Make of an engine's schema what this dialect takes: no refused fields, our models and efforts."""
    properties: Tree = schema.get("properties", {})
    for refused in unsupported.REFUSED.get(dialect.path, ()):
        if not callable(refused.harmless):
            properties.pop(refused.field, None)
    if "model" in properties:
        own = list(model.names)
        properties["model"] = {"enum": own if "model" in schema.get("required", ()) else [*own, None]}
    if "reasoning_effort" in properties:
        properties["reasoning_effort"] = {
            "enum": [*efforts, None],
            "description": "how much the model reasons before it answers",
        }


def _errors(shape: Shape) -> Tree:
    name = "AnthropicError" if shape is Shape.ANTHROPIC else "Error"
    reasons: dict[int, list[str]] = {}
    for error in _kinds(ApiError):
        reasons.setdefault(error.status, []).append((error.__doc__ or "").split("\n")[0])
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    return {
        str(status): {"description": " ".join(why), "content": content}
        for status, why in sorted(reasons.items())
    }


def _kinds(error: type[ApiError]) -> Iterator[type[ApiError]]:
    yield error
    for kind in error.__subclasses__():
        yield from _kinds(kind)


def _shape(path: str) -> Shape:
    return next((dialect.shape for dialect in DIALECTS if dialect.path == path), Shape.OPENAI)


def _named(schema: object) -> Iterator[str]:
    """Yield the names of the schemas that `schema` refers to itself."""
    if isinstance(schema, Mapping):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference.rpartition("/")[2]
        for value in schema.values():
            yield from _named(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _named(value)


def _copy(name: str, engines: Mapping[str, Any], schemas: Tree) -> Tree:
    """Have an engine's schema among `schemas`, and return it."""
    if name not in schemas:
        schemas[name] = copy.deepcopy(engines["components"]["schemas"][name])
    found: Tree = schemas[name]
    return found
