"""Do later turns depend on earlier ones?"""

from itertools import islice

from deploy.pocket.data import examples


def test_what_was_told_is_remembered() -> None:
    """The thing stands in the first turn, not in the last question, and in the answer."""
    for example in islice(examples(3, "held_out", ["talks.memory"]), 100):
        first, *_, last = (message["content"] for message in example.request["messages"])
        it = example.key[1]
        assert it in first
        assert it not in last
        assert it in (example.content or "")


def test_sums_go_on() -> None:
    """Each turn goes on from the result of the one before."""
    for example in islice(examples(4, "train", ["talks.follow_up"]), 100):
        result = example.key[0][0]
        for left, sign, right in example.key:
            assert left == result
            result = eval(f"{left} {sign} {right}")
        assert example.content == str(result)


def test_some_histories_keep_their_thoughts() -> None:
    """At effort high, as a field and as a chunk; at none never."""
    found = list(islice(examples(5, "train", ["talks"]), 200))
    fields = [example for example in found if any("reasoning" in m for m in example.request["messages"])]
    chunks = [
        example
        for example in found
        if any(isinstance(m["content"], list) for m in example.request["messages"])
    ]
    assert fields
    assert chunks
    assert all(example.effort == "high" for example in fields + chunks)
