"""Which model is served, under which names and with which defaults?"""

from string import Formatter
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from parallel.memory import WeightFormat
from serve_app.config.base import Frozen
from serve_app.types import Effort


class Sampling(Frozen):
    """Sampling parameters for requests that leave them out; vLLM's own defaults where they are not given."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None


class Defaults(Frozen):
    """Sampling by effort."""

    none: Sampling = Sampling()
    high: Sampling = Sampling(temperature=0.7)


SYSTEM_PROMPT_FIELDS = ("name", "today", "yesterday")


def _fillable(template: str) -> str:
    try:
        fields = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"{error}; a brace that is no field is written twice") from None
    for _, name, spec, conversion in fields:
        if name not in SYSTEM_PROMPT_FIELDS or spec or conversion:
            known = ", ".join(f"{{{known}}}" for known in SYSTEM_PROMPT_FIELDS)
            raise ValueError(
                f"has {{{name}}}, but only {known} can be filled in; other braces are written twice"
            )
    return template


class Model(Frozen):
    """Which weights are served, and under which names."""

    path: str
    """A folder in Mistral's native format. A relative one is relative to the project's root."""
    name: Annotated[str, StringConstraints(min_length=1)]
    aliases: tuple[str, ...] = ()
    weight_format: WeightFormat | None = None
    """For memory estimates where the checkpoint, which says it itself, is not at hand."""
    default_effort: Effort = Effort.NONE
    """The effort of a request that names none."""
    defaults: Defaults = Defaults()
    """Sampling of a request that leaves it open, by effort."""
    system_prompt: Annotated[str, AfterValidator(_fillable)] | None = None
    """For conversations that have none; {name}, {today} and {yesterday} (UTC) are filled in."""

    def sampling_at(self, effort: Effort) -> dict[str, float]:
        """Return the sampling parameters that the operator chose for `effort`."""
        chosen = self.defaults.none if effort is Effort.NONE else self.defaults.high
        return chosen.model_dump(exclude_none=True)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that a request may use: the served one first, then its aliases."""
        return (self.name, *self.aliases)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = self.names
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(
                f"name={self.name!r} and aliases={list(self.aliases)} repeat {', '.join(map(repr, twice))}"
            )
        return self
