"""From steps to tokens a second, and loads and draft heads that cannot be."""

from typing import Any

import pytest

from parallel.cost import Engine
from parallel.hardware import H200
from parallel.memory import WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4
from parallel.plan import ParallelPlan
from parallel.speed import Load, Speculation, speed

ENGINE = Engine(H200, MISTRAL_SMALL_4, WeightFormat.FP8, ParallelPlan())


def test_users_and_total_agree() -> None:
    """All tokens over all of the time; a user's clock starts with the answer."""
    load = Load(64, 512, 256)
    said = speed(ENGINE, load)
    assert said.user_tokens_per_s == pytest.approx(1 / said.step_s)
    assert said.total_tokens_per_s == pytest.approx(64 * 256 / (said.first_token_s + 256 * said.step_s))


def test_acceptance_is_worth_what_it_yields() -> None:
    """The same steps give twice the tokens if twice as many come of each."""
    low, high = (speed(ENGINE, Load(1), Speculation(3, accepted)) for accepted in (1.5, 3.0))
    assert high.step_s == low.step_s
    assert high.user_tokens_per_s == pytest.approx(2 * low.user_tokens_per_s)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"concurrency": 0}, "concurrency=0 must be more than 0"),
        ({"concurrency": 1, "prompt_tokens": 0}, "prompt_tokens=0 must be at least 1"),
        ({"concurrency": 1, "answer_tokens": -1}, "answer_tokens=-1 must be"),
        ({"concurrency": 1, "chunk_tokens": 0}, "chunk_tokens=0 must be"),
    ],
)
def test_refused_loads(fields: dict[str, Any], message: str) -> None:
    """A load of nothing has no speed."""
    with pytest.raises(ValueError, match=message):
        Load(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((0, 1.0), "draft_tokens=0 must be at least 1"),
        ((3, 0.5), r"acceptance_length=0.5 must be from 1 to draft_tokens\+1=4"),
        ((3, 4.5), "acceptance_length=4.5 must be"),
    ],
)
def test_refused_speculation(fields: tuple[int, float], message: str) -> None:
    """A step yields at least one token, and at most all that were drafted and one more."""
    with pytest.raises(ValueError, match=message):
        Speculation(*fields)


def test_the_heads_own_shape_counts() -> None:
    """A deeper head takes longer to draft than the one that is assumed."""
    deep = Speculation().head_for(MISTRAL_SMALL_4)
    deeper = Speculation(head=type(deep)(**(vars(deep) | {"layers": 4, "dense_layers": 4})))
    assert speed(ENGINE, Load(8), deeper).step_s > speed(ENGINE, Load(8), Speculation()).step_s
