"""Under which names is the model served, and what do clients learn of it?"""

import time

from fastapi import FastAPI
from starlette.responses import JSONResponse, Response

from serve_app.config import Model
from serve_app.errors import UnknownModel


def add(app: FastAPI, model: Model, max_model_len: int) -> None:
    """Add the routes to `app`. `max_model_len`: tokens of prompt and answer that every pool takes."""
    started_s = int(time.time())
    cards = {name: _card(name, model, max_model_len, started_s) for name in model.names}

    @app.get("/v1/models")
    async def models() -> Response:
        return JSONResponse({"object": "list", "data": list(cards.values())})

    @app.get("/v1/models/{name:path}")
    async def model_card(name: str) -> Response:
        if name not in cards:
            raise unknown(name, model)
        return JSONResponse(cards[name])


def unknown(name: object, model: Model) -> UnknownModel:
    """Return the error for a model that is not served, with the names of the one that is."""
    known = ", ".join(map(repr, model.names))
    return UnknownModel(f"model {name!r} is not served here; model must be one of {known}", param="model")


def _card(name: str, model: Model, max_model_len: int, started_s: int) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": started_s,
        "owned_by": "venturi",
        "root": model.name,
        "max_model_len": max_model_len,
        # What Mistral's own client wants to see beside OpenAI's fields.
        "type": "base",
        "max_context_length": max_model_len,
        "capabilities": {"completion_chat": True, "function_calling": True, "vision": True},
    }
