"""What does a request get that it did not ask for? The operator's sampling and system prompt."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from serve_app.config import Model
from serve_app.ingress.dialects import Body, Dialect
from serve_app.types import Effort

SYSTEM_ROLES = ("system", "developer")


def completed(dialect: Dialect, body: Body, effort: Effort, model: Model, today: date) -> Body:
    """Return `body` with the defaults for what it leaves open: `body` itself where that is nothing."""
    added: dict[str, Any] = {}
    if dialect.generates:
        added |= {k: v for k, v in model.sampling_at(effort).items() if body.get(k) is None}
    if model.system_prompt is not None and dialect.system_at and not _has_system(dialect, body):
        prompt = model.system_prompt.format(
            name=model.name, today=today.isoformat(), yesterday=(today - timedelta(days=1)).isoformat()
        )
        if dialect.system_at != "messages":
            added[dialect.system_at] = prompt
        elif isinstance(turns := body.get("messages"), list):
            added["messages"] = [{"role": "system", "content": prompt}, *turns]
    return {**body, **added} if added else body


def _has_system(dialect: Dialect, body: Body) -> bool:
    assert dialect.conversation is not None
    own = dialect.system_at != "messages" and dialect.system_at and body.get(dialect.system_at)
    turns = body.get(dialect.conversation)
    return bool(own) or any(_role(turn) in SYSTEM_ROLES for turn in _items(turns))


def _items(turns: object) -> Iterable[object]:
    return turns if isinstance(turns, list) else ()


def _role(turn: object) -> object:
    return turn.get("role") if isinstance(turn, Mapping) else None
