"""Do answers on pictures follow from the figures drawn?"""

from itertools import islice

from deploy.pocket.data import examples
from deploy.pocket.families.canvas import COLOURS, GROUNDS, SHAPES
from deploy.pocket.families.example import Example


def text(example: Example) -> str:
    """The question of the last message."""
    return next(
        str(part["text"]) for part in example.request["messages"][-1]["content"] if part["type"] == "text"
    )


def test_answers_on_shapes_follow_from_the_figures() -> None:
    """Counts, colours and shapes are those of the key."""
    for example in islice(examples(3, "train", ["pictures.shapes"]), 200):
        content = example.content or ""
        asked = [shape for shape in SHAPES if shape in text(example)]
        if content.isdigit():
            wanted = [shape for shape, _ in example.key if not asked or shape == asked[0]]
            assert int(content) == len(wanted)
        elif content in COLOURS:
            assert (asked[0], content) in example.key
        elif content in SHAPES:
            assert any((content, colour) in example.key for colour in COLOURS if colour in text(example))
        elif content not in GROUNDS:
            assert all(f"{colour} {shape}" in content for shape, colour in example.key)


def test_the_picture_asked_for_has_the_thing() -> None:
    """Of two pictures the one answered has the shape or the colour, the other has not."""
    for example in islice(examples(4, "held_out", ["pictures.pair"]), 100):
        place = ("The first.", "The second.").index(example.content or "")
        having = [any(f" {part}" in text(example) for part in figure) for figure in example.key]
        assert having == [place == 0, place == 1]


def test_pictures_stand_before_or_after_the_text() -> None:
    """Both orders occur, and a pair has two pictures."""
    found = list(islice(examples(5, "train", ["pictures"]), 100))
    assert {example.request["messages"][-1]["content"][0]["type"] for example in found} == {
        "text",
        "image_url",
    }
    pairs = [example for example in found if example.family == "pictures.pair"]
    assert all(len(example.request["messages"][-1]["content"]) == 3 for example in pairs)
