"""Do engines on several ranks, and engines that draft, answer as one rank does?

The reference is one rank without drafts. Everything runs in float32, where the ways to compute differ by
rounding only: tokens must be equal, and log-probabilities within 1e-4.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from deploy.pocket.data import Encoder, Example, examples
from deploy.pocket.shape import Shape, write_tekken
from parallel.load import total_variation
from parallel.speculation import LEAST_TIMED_STEPS
from parallel.vllm_plugin import DRAFT_LENGTH, DRAFT_LENGTH_SCHEDULER

pytestmark = pytest.mark.engine

Engine = Callable[..., Any]
Waves = list[list[dict[str, Any]]]


@cache
def prompts() -> list[list[int]]:
    """Questions at effort high, from short to long, whose answers have 30 tokens or more."""
    with TemporaryDirectory() as folder:
        write_tekken(Shape(), tekken := Path(folder) / "tekken.json")
        encoder = Encoder(tekken)
    found = []
    for family in ("arithmetic.three_step", "lists.numbers", "schemas", "tools.parallel"):
        asked = map(encoder.encode, at_high(examples(0, "train", [family])))
        one = next(one for one in asked if len(one.tokens) - one.num_prompt_tokens >= 30)
        found.append(one.tokens[: one.num_prompt_tokens].tolist())
    return found


def at_high(given: Iterator[Example]) -> Iterator[Example]:
    """Those of effort high."""
    return (example for example in given if example.effort == "high")


def waves(*, ranked: bool = False) -> Waves:
    """Requests that keep two data-parallel ranks unlike all along.

    First rank 1 decodes one token while rank 0 decodes three, then nothing is left for rank 0 at all.
    """
    short, middle, long, longest = prompts()
    together = [(short, 0), (middle, 1), (long, 0), (longest, 0)]
    asked: Waves = [
        [{"prompt": prompt, "num_tokens": 24, "rank": rank} for prompt, rank in together],
        [{"prompt": middle, "num_tokens": 12, "rank": 1}],
    ]
    if not ranked:
        for wave in asked:
            for request in wave:
                del request["rank"]
    return asked


def questions() -> list[dict[str, Any]]:
    """What the draft head has learned, together."""
    return [{"prompt": prompt, "num_tokens": 60} for prompt in prompts()]


def noise() -> list[dict[str, Any]]:
    """What the head cannot guess: prompts without sense. Longer continuations would repeat themselves."""
    random = Random(1)
    senseless = [[1, *(random.randrange(1000, 8000) for _ in range(60))] for _ in range(4)]
    return [{"prompt": prompt, "num_tokens": 60} for prompt in senseless]


@pytest.fixture(scope="module")
def alone(engine: Engine) -> Any:
    """The answers of one rank to everything that is asked here."""
    return engine([*waves(), questions(), noise()], enable_return_routed_experts=True)


@pytest.fixture(scope="module")
def reference(alone: Any) -> Any:
    """The answers of one rank to `waves`."""
    return alone | {"waves": alone["waves"][:-2]}


def assert_same_answers(found: Any, wanted: Any) -> None:
    """Equal tokens and, where both report them, experts; log-probabilities within 1e-4."""
    for found_wave, wanted_wave in zip(found["waves"], wanted["waves"], strict=True):
        for answer, expected in zip(found_wave, wanted_wave, strict=True):
            assert answer["tokens"] == expected["tokens"]
            assert answer["logprobs"] == pytest.approx(expected["logprobs"], abs=1e-4, rel=0)
            if answer["experts"] is not None:
                assert sorted_experts(answer) == sorted_experts(expected)


def sorted_experts(answer: Any) -> list[list[list[int]]]:
    """The experts of each token and layer; the kernel is free to name the active ones in any order."""
    return [[sorted(layer) for layer in token] for token in answer["experts"]]


def test_real_configurations_need_what_they_should(reference: Any) -> None:
    """An engine on the pocket model needs the fixes that every engine of this model needs."""
    assert reference["needed"] == ["parser_cache", "detokenizer", "sampling_gpu", "vision_import"]


def test_answers_are_fit_for_comparison(reference: Any) -> None:
    """Unlike prompts get unlike answers of many tokens, so that equal answers mean something."""
    answers = [answer["tokens"] for answer in reference["waves"][0]]
    assert all(len(set(tokens)) > 8 for tokens in answers)
    assert len({tuple(tokens) for tokens in answers}) == len(answers)


def test_every_choice_is_counted(alone: Any) -> None:
    """The counter and vLLM's own routed experts say the same of a wave, beside each other."""
    counted = np.zeros_like(alone["chosen"][0])
    for answer in alone["waves"][0]:
        for token in answer["experts"]:
            for layer, experts in enumerate(token):
                counted[layer][experts] += 1
    assert np.array_equal(alone["chosen"][0], counted)


def test_two_tensor_parallel_ranks_with_experts_apart(engine: Engine, reference: Any) -> None:
    """Each rank holds half of the heads and half of the experts, in a process that vLLM began as it does."""
    found = engine(
        waves(),
        start_method="spawn",
        tensor_parallel_size=2,
        enable_expert_parallel=True,
        enable_return_routed_experts=True,
    )
    assert_same_answers(found, reference)
    assert {"experts_cpu", "communicator_cpu"} <= set(found["needed"])
    assert np.array_equal(found["chosen"][0], 2 * np.array(reference["chosen"][0]))  # each rank sees all


def test_two_data_parallel_ranks_with_experts_apart(engine: Engine, reference: Any) -> None:
    """Each rank serves its own requests, also one token or none, and half of the experts."""
    found = engine(
        waves(ranked=True),
        data_parallel_size=2,
        enable_expert_parallel=True,
        enable_return_routed_experts=True,
    )
    assert_same_answers(found, reference)
    assert {"experts_cpu", "communicator_cpu"} <= set(found["needed"])
    # Both ranks see all tokens, those among them that only keep an idle rank in step.
    assert (total_variation(*(np.array(one["chosen"][0]) for one in (found, reference))) < 0.1).all()


def test_both_kinds_of_ranks_with_experts_apart(engine: Engine, reference: Any) -> None:
    """Two groups of two ranks, one of which decodes a single token, with a fourth of the experts each."""
    found = engine(
        waves(ranked=True),
        data_parallel_size=2,
        tensor_parallel_size=2,
        enable_expert_parallel=True,
        enable_return_routed_experts=True,
    )
    assert_same_answers(found, reference)
    assert {"experts_cpu", "communicator_cpu", "one_token"} <= set(found["needed"])


def test_drafts_change_nothing_but_the_number_of_steps(
    engine: Engine, draft_head: dict[str, Any], reference: Any
) -> None:
    """With the draft head answers stay; some drafts are accepted, and some are not.

    Drawn at a temperature of almost 0, the tokens are the greedy ones too: the temperature arrives. What
    would not hold beside drafts is refused.
    """
    drawn = [request | {"sampling": {"temperature": 1e-4}} for request in waves()[0]]
    asked: list[dict[str, Any]] = [
        {"logit_bias": {5: 1.0}},
        {"min_p": 0.5, "temperature": 1.0},  # a greedy answer has none
        {"allowed_token_ids": [5]},
    ]
    biased = [waves()[1][0] | {"sampling": sampling} for sampling in asked]
    found = engine([*waves(), drawn, biased], speculative_config=draft_head)
    *same, of_drawn, of_biased = found["waves"]
    for sampling, answer in zip(asked, of_biased, strict=True):
        assert next(iter(sampling)) in answer["refused"]
    assert_same_answers({"waves": same}, reference)
    greedy = [answer["tokens"] for answer in reference["waves"][0]]
    assert [answer["tokens"] for answer in of_drawn] == greedy
    assert {"eagle", "sampling_cpu"} <= set(found["needed"])
    counters = sum(map(Counter, found["counters"]), Counter[str]())
    acceptance_length = (
        1 + counters["vllm:spec_decode_num_accepted_tokens"] / counters["vllm:spec_decode_num_drafts"]
    )
    assert 1.2 < acceptance_length < 1 + draft_head["num_speculative_tokens"]


def test_draft_length_follows_the_text_and_changes_no_answer(
    engine: Engine, draft_head: dict[str, Any], alone: Any
) -> None:
    """At every number of draft tokens the answers are those without; the text decides which is in force."""
    # Windows too short to time steps in, so that k depends on the text alone, and not on the machine.
    adapt = {"window_steps": LEAST_TIMED_STEPS - 1, "explore": 0.05}
    found = engine(
        [*[questions()] * 3, *[noise()] * 6, *[questions()] * 8],
        speculative_config=draft_head,
        scheduler_cls=DRAFT_LENGTH_SCHEDULER,
        additional_config={DRAFT_LENGTH: {"adapt": adapt}},
    )
    *_, to_questions, to_noise = alone["waves"]
    assert_same_answers(found, {"waves": [*[to_questions] * 3, *[to_noise] * 6, *[to_questions] * 8]})
    steps = found["verify_steps"]
    assert all(
        sum(wave.get(str(k), 0) for wave in steps) for k in range(draft_head["num_speculative_tokens"] + 1)
    )
    at_most_one = [
        sum(wave.get(k, 0) for wave in part for k in "01") / sum(sum(wave.values()) for wave in part)
        for part in (steps[:3], steps[6:9], steps[-3:])
    ]
    easy_first, hard, easy_again = at_most_one
    assert max(easy_first, easy_again) < 0.5 < hard
