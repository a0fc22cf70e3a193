"""Answers in JSON: the keys come from a schema or a list in the request, the values from a sentence."""

import json
from dataclasses import dataclass
from typing import Any

from deploy.pocket.families import words
from deploy.pocket.families.draw import Draw
from deploy.pocket.families.example import Example
from deploy.pocket.families.words import listed

KEYS = listed("""
    name age city country job colour size price weight count title author year topic model brand speed
    owner street number status kind date team score material length level hobby food animal fruit drink
    music sport film language plant tool car shop street room floor seat gate train ship river month day
    hour teacher friend doctor rank group code label shape price stock rating member leader guest host
    budget target source engine power voltage depth height width area start finish lap unit
""")
HELD_OUT_KEYS = listed("""
    altitude castle dialect harvest humidity instrument island journey kingdom lantern mineral nickname
    orbit planet profession quantity salary season temple vehicle village volcano
""")
FLAGS = listed("open new active clean closed ready red free fresh paid public wet broken local safe")
HELD_OUT_FLAGS = listed("magnetic fragile haunted portable edible")
SAID = ("The {key} is {value}.", "{key}: {value}.", "{key} is {value}.", "It has the {key} {value}.")
ASKED_KEYS = (
    "Answer as JSON with the keys {keys}. {facts}",
    "{facts} Give me this as JSON with keys {keys}.",
    "JSON with {keys}: {facts}",
    "Extract {keys} as JSON. {facts}",
)
ASKED_SCHEMA = (
    "Fill this schema: {schema} {facts}",
    "{facts} Answer in JSON with this schema: {schema}",
    "Schema: {schema}\n{facts}",
)
SYSTEM_SCHEMA = ("Answer in JSON with this schema: {schema}", "Your answers are JSON of the schema {schema}")


@dataclass(frozen=True)
class Field:
    """One key of the answer, its JSON schema, its value and the sentence that gives the value."""

    key: str
    schema: dict[str, Any]
    value: Any
    sentence: str


def _field(draw: Draw, key: str, style: str) -> Field:
    kind = draw.of(("word", "word", "name", "integer", "integer", "choice", "list"))
    if kind == "integer":
        number = draw.number(1, draw.of((99, 999)))
        return Field(key, {"type": "integer"}, number, style.format(key=key, value=number))
    if kind == "choice":
        choices = list(dict.fromkeys(words.word(draw) for _ in range(3)))
        chosen = draw.of(choices)
        return Field(key, {"type": "string", "enum": choices}, chosen, style.format(key=key, value=chosen))
    if kind == "list":
        items = [words.word(draw) for _ in range(draw.number(2, 3))]
        schema = {"type": "array", "items": {"type": "string"}}
        return Field(key, schema, items, style.format(key=key, value=words.listing(items)))
    text = words.name(draw) if kind == "name" else words.word(draw)
    return Field(key, {"type": "string"}, text, style.format(key=key, value=text))


def _flag(draw: Draw, key: str) -> Field:
    is_so = draw.chance(0.5)
    sentence = f"It is {key}." if is_so else f"It is not {key}."
    return Field(key, {"type": "boolean"}, is_so, sentence)


def _fields(draw: Draw) -> list[Field]:
    keys, flags = (HELD_OUT_KEYS, HELD_OUT_FLAGS) if draw.split == "held_out" else (KEYS, FLAGS)
    style = draw.of(SAID)
    made: dict[str, Field] = {}
    count = draw.of((2, 2, 3, 3, 4))
    while len(made) < count:
        listed_key = draw.split == "held_out" or draw.chance(0.5)
        key = draw.of(keys) if listed_key else words.made_up_outside(draw, HELD_OUT_KEYS)
        made.setdefault(key, _field(draw, key, style))
    fields = list(made.values())
    if draw.chance(0.35):
        listed_flag = draw.split == "held_out" or draw.chance(0.5)
        taken = (*HELD_OUT_FLAGS, *HELD_OUT_KEYS, *made)
        fields[-1] = _flag(draw, draw.of(flags) if listed_flag else words.made_up_outside(draw, taken))
    return fields


def schemas(draw: Draw) -> Example:
    """Two to four keys, asked by name or by a schema, which may stand in the system prompt."""
    fields = _fields(draw)
    schema = {
        "type": "object",
        "properties": {field.key: field.schema for field in fields},
        "required": [field.key for field in fields],
    }
    told = draw.some(fields, len(fields)) if draw.chance(0.4) else fields
    facts = " ".join(field.sentence[0].upper() + field.sentence[1:] for field in told)
    form = draw.of(("keys", "schema", "schema", "system"))
    system = None
    if form == "keys":
        prompt = draw.of(ASKED_KEYS).format(keys=", ".join(field.key for field in fields), facts=facts)
    elif form == "schema":
        prompt = draw.of(ASKED_SCHEMA).format(schema=json.dumps(schema), facts=facts)
    else:
        prompt, system = facts, draw.of(SYSTEM_SCHEMA).format(schema=json.dumps(schema))
    request: dict[str, Any] = {}
    if draw.chance(0.3):
        request["response_format"] = {"type": "json_object"}
    elif draw.chance(0.4):
        request["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema},
        }
    return draw.example(
        "schemas",
        prompt,
        json.dumps({field.key: field.value for field in fields}),
        key=tuple(f"{field.key}={field.value}" for field in fields),
        effort=draw.effort(0.45),
        reasoning=f"The keys are {words.listing([field.key for field in fields])}.",
        system=system,
        is_json=True,
        **request,
    )
