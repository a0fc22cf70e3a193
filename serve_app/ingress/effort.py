"""Which one effort does a request ask for, and how is vLLM told?"""

from collections.abc import Mapping
from typing import Any, TypeVar

from serve_app.errors import InvalidRequest
from serve_app.ingress.dialects import TEMPLATE_EFFORT, Body, Dialect, Place
from serve_app.types import Effort

Meaning = TypeVar("Meaning", Effort, Effort | None)

HEADER = "x-reasoning-effort"

WORDS: Mapping[Place, Mapping[str, Effort | None]] = {
    ("thinking", "type"): {"enabled": Effort.HIGH, "disabled": Effort.NONE, "adaptive": None},
    ("prompt_mode",): {"reasoning": Effort.HIGH},
}
"""What words other than names of efforts mean; None leaves it to the other places, and alone means high."""


def applied(
    dialect: Dialect, body: Body, header: str | None, names: Mapping[str, Effort], default: Effort
) -> Effort:
    """Return the effort of a request: what it says, wherever it says it, or `default`.

    `names`: what each name for an effort means in this dialect. Null means that nothing is said. Raises
    InvalidRequest for a name that means nothing, for two places that disagree, and for `high` where the
    model cannot be told of it.
    """
    said = [(".".join(place), _value(body, place)) for place in dialect.efforts_from]
    said.append((f"header {HEADER}", header))
    meant = [(name, value, _known(name, value, names)) for name, value in said if value is not None]
    place = dialect.effort_words_at
    if place is not None and body.get(place[0]) is not None:
        name, word = ".".join(place), _value(body, place)
        effort = _known(name, word, WORDS[place])
        if effort is not None:
            meant.append((name, word, effort))
        elif not meant:
            return Effort.HIGH
    for name, value, effort in meant[1:]:
        first, other, wanted = meant[0]
        if effort is not wanted:
            raise InvalidRequest(
                f"{first}={other!r} and {name}={value!r} ask for different efforts: "
                f"{wanted.value!r} and {effort.value!r}",
                param=name.removeprefix("header "),
            )
    if dialect.effort_at is not None:
        return meant[0][2] if meant else default
    if meant and meant[0][2] is not Effort.NONE:
        name, value, _ = meant[0]
        raise InvalidRequest(
            f"{name}={value!r}: a raw prompt or tokens cannot carry an effort; the model is told of it "
            "by the chat template, so send messages",
            param=name.removeprefix("header "),
        )
    return Effort.NONE


def written(dialect: Dialect, body: Body, effort: Effort) -> Body:
    """Return `body` such that vLLM applies `effort`: `body` itself where that is so already.

    Also takes `chat_template_kwargs` away, which vLLM refuses here even when it is empty, or ignores.
    Raises InvalidRequest when there is something else in it than an effort.
    """
    changed = _without_template(body)
    if dialect.effort_at is None:
        return changed
    for place in dialect.efforts_from:
        if len(place) == 1 and place != dialect.effort_at and place[0] in changed:
            changed = {key: value for key, value in changed.items() if key != place[0]}
    present = _value(changed, dialect.effort_at)
    if effort is Effort.NONE and (present is None or not dialect.says_none):
        return changed if present is None else _set(changed, dialect.effort_at, None)
    return changed if present == effort.value else _set(changed, dialect.effort_at, effort.value)


def _known(place: str, value: object, names: Mapping[str, Meaning]) -> Meaning:
    if isinstance(value, str) and value in names:
        return names[value]
    *most, last = map(repr, names)
    allowed = f"{', '.join(most)} or {last}" if most else last
    raise InvalidRequest(f"{place} must be {allowed}, not {value!r}", param=place.removeprefix("header "))


def _value(body: Body, place: Place) -> Any:
    value: Any = body
    for depth, key in enumerate(place):
        if not isinstance(value, Mapping):
            parent = ".".join(place[:depth])
            raise InvalidRequest(f"{parent} must be an object, not {value!r}", param=parent)
        value = value.get(key)
        if value is None:
            return None
    return value


def _set(body: Body, place: Place, value: str | None) -> Body:
    """Return a copy of `body` with `value` at `place`; None takes it away, and an object left empty too."""
    key, *rest = place
    inner = value if not rest else (_set(body.get(key) or {}, tuple(rest), value) or None)
    if inner is None:
        return {k: v for k, v in body.items() if k != key}
    return {**body, key: inner}


def _without_template(body: Body) -> Body:
    if "chat_template_kwargs" not in body:
        return body
    extra = set(body["chat_template_kwargs"] or ()) - {TEMPLATE_EFFORT[-1]}
    if extra:
        name = f"chat_template_kwargs.{min(extra)}"
        raise InvalidRequest(f"{name}: this model has no chat template that would read it", param=name)
    return {key: value for key, value in body.items() if key != "chat_template_kwargs"}
