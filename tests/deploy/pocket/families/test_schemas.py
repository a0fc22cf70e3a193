"""Do JSON answers fit the schemas and keys asked for?"""

import json
from itertools import islice

import jsonschema  # type: ignore[import-untyped]

from deploy.pocket.data import examples


def test_answers_fit_the_schema_of_the_request() -> None:
    """Where the request carries a schema as its response format, the answer is valid by it."""
    num_checked = 0
    for example in islice(examples(3, "train", ["schemas"]), 400):
        answer = json.loads(example.content or "")
        assert 2 <= len(answer) <= 4
        form = example.request.get("response_format", {})
        if form.get("type") == "json_schema":
            jsonschema.validate(answer, form["json_schema"]["schema"] | {"additionalProperties": False})
            num_checked += 1
    assert num_checked > 20


def test_keys_and_values_stand_in_the_request() -> None:
    """Every key and every text or number is said."""
    for example in islice(examples(4, "held_out", ["schemas"]), 200):
        said = " ".join(message["content"] for message in example.request["messages"]).lower()
        for key, value in json.loads(example.content or "").items():
            assert key in said
            for one in value if isinstance(value, list) else [value]:
                assert isinstance(one, bool) or str(one).lower() in said


def test_keys_are_split() -> None:
    """Training answers have no key of the held-out ones."""
    keys = [
        {
            key
            for example in islice(examples(5, split, ["schemas"]), 400)
            for key in json.loads(example.content or "")
        }
        for split in ("train", "held_out")
    ]
    assert not keys[0] & keys[1]
