"""Is the draft head trained on what an engine will give it, step by step, and judged as an engine would?"""

import json
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deploy.pocket.batches import Batch
from deploy.pocket.data import Encoded
from deploy.pocket.eagle import (
    HEAD,
    LOG,
    NUM_DRAFTS,
    TEXTS_A_LESSON,
    HeadTrainer,
    Lesson,
    acceptance_length,
    drafts,
    learned_at,
    lessons,
    loss_of,
)
from deploy.pocket.layers import Attend
from deploy.pocket.model import DraftHead, PocketModel
from deploy.pocket.shape import IMAGE_TOKEN
from deploy.pocket.train import Recipe, Trainer
from tests.deploy.pocket.test_batches import batch_of, text
from tests.deploy.pocket.test_model import one_thread as one_thread
from tests.deploy.pocket.test_model import seeded
from tests.deploy.pocket.test_shape import SMALL, TINY


def some_texts() -> list[Encoded]:
    """From short to long, with answers of 1 to 9 tokens, some with images, some past the original length."""
    rng = np.random.default_rng(0)
    return [
        text(rng, 4, 1),
        text(rng, 5, 4),
        text(rng, 4, 6, (3, 1)),
        text(rng, 12, 9),
        text(rng, 9, 5, (2, 3), (1, 2)),
    ]


def answers_of(texts: list[Encoded]) -> list[Tensor]:
    """Their own answers, as if the target had said so."""
    return [torch.from_numpy(one.tokens[one.num_prompt_tokens :]).long() for one in texts]


@pytest.fixture(scope="module")
def target() -> PocketModel:
    """A target."""
    return seeded()


@pytest.fixture(scope="module")
def head() -> DraftHead:
    """A head of random weights."""
    torch.manual_seed(1)
    return DraftHead(SMALL)


@pytest.fixture(scope="module")
def lesson(target: PocketModel) -> Lesson:
    """One lesson of all texts, which come in order of their lengths."""
    texts = some_texts()
    found: list[Lesson] = list(lessons(target, batch_of(*texts, num_padding=4), answers_of(texts)))
    assert len(found) == 1
    return found[0]


@torch.no_grad()
def test_a_lesson_is_the_targets_reading(target: PocketModel, lesson: Lesson) -> None:
    """Hidden states, the next token's embedding (that of an image too), and the hidden state after it."""
    for row, one in enumerate(some_texts()):
        batch, length = batch_of(one), len(one.tokens)
        hidden, _ = target(batch.texts)
        torch.testing.assert_close(lesson.hidden[row, :length], hidden)
        torch.testing.assert_close(lesson.embedded[row, : length - 1], target.embed(batch.texts)[1:])
        torch.testing.assert_close(lesson.wanted[row, : length - 1], hidden[1:])


def test_drafts_begin_in_the_answer(lesson: Lesson) -> None:
    """The first draft is of the answer's second token, the last one of its end."""
    for row, one in enumerate(some_texts()):
        drafted = [place + 2 for place in lesson.learned[row].nonzero()[:, 0].tolist()]
        assert drafted == list(range(one.num_prompt_tokens + 1, len(one.tokens)))


def test_texts_of_like_length_share_a_lesson(target: PocketModel) -> None:
    """Each text is in one lesson, and no text is shorter than the longest of the lesson before."""
    rng = np.random.default_rng(0)
    texts = [text(rng, 3 + number % 2, 4 + number % 5) for number in range(TEXTS_A_LESSON + 2)]
    found = list(lessons(target, batch_of(*texts), answers_of(texts)))
    assert [len(one.hidden) for one in found] == [TEXTS_A_LESSON, 2]
    assert found[0].hidden.shape[1] == found[1].hidden.shape[1] == 4 + 8
    num_places = sum(int(one.learned.sum()) for one in found)
    assert num_places == sum(len(one.tokens) - one.num_prompt_tokens - 1 for one in texts)


def test_short_answers_make_no_lesson(target: PocketModel) -> None:
    """Where no text has room for a whole draft there would be a mean over nothing."""
    rng = np.random.default_rng(0)
    for num_tokens, num_lessons in ((NUM_DRAFTS, 0), (NUM_DRAFTS + 1, 1)):
        texts = [text(rng, 4, num_tokens), text(rng, 6, 2)]
        found = list(lessons(target, batch_of(*texts), answers_of(texts)))
        assert len(found) == num_lessons
        assert all(learned_at(one, NUM_DRAFTS - 1).any() for one in found)


def test_a_target_that_says_an_images_token(target: PocketModel) -> None:
    """It gets that token's own embedding, and the images stay where they are."""
    texts = some_texts()
    answers = answers_of(texts)
    answers[4] = torch.tensor([20, IMAGE_TOKEN, 21, 22, 2])
    (found,) = lessons(target, batch_of(*texts), answers)
    place = texts[4].num_prompt_tokens
    torch.testing.assert_close(found.embedded[4, place], target.tok_embeddings.weight[IMAGE_TOKEN])
    torch.testing.assert_close(found.embedded[4, 0], target.embed(batch_of(texts[4]).texts)[1])


@torch.no_grad()
def engine_drafts(head: DraftHead, given: Lesson, row: int, begin: int, num_drafts: int) -> Tensor:
    """What an engine computes that drafts after slot `begin` of a text: hidden states [num_drafts, D].

    One slot after the other, each seeing the keys of those before: up to `begin` from the target's hidden
    states, then from the head's own.
    """
    cache: list[list[tuple[Tensor, Tensor]]] = [[] for _ in head.layers]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        cache[layer].append((k[0], v[0]))
        keys, values = (torch.stack(held) for held in zip(*cache[layer], strict=True))  # [n, H, any]
        scores = torch.einsum("hd,nhd->hn", q[0], keys) / math.sqrt(q.shape[2])
        return torch.einsum("hn,nhd->hd", scores.softmax(1), values)[None]

    found: list[Tensor] = []
    for slot in range(begin + num_drafts):
        hidden = given.hidden[row, slot] if slot <= begin else found[-1]
        said = head(given.embedded[row, slot][None], hidden[None], torch.tensor([slot]), attend)
        if slot >= begin:
            found.append(said[0])
    return torch.stack(found)


def drafts_of(given: Lesson, num_drafts: int = NUM_DRAFTS) -> Iterator[tuple[int, int, int]]:
    """Row, begin, and how many drafts are left to the answer's end, of each place where a draft can begin."""
    for row, begin in given.learned.nonzero().tolist():
        yield row, begin, min(num_drafts, int(given.learned[row, begin:].sum()))


@torch.no_grad()
def test_drafts_are_those_of_an_engine(head: DraftHead, lesson: Lesson) -> None:
    """From each place, the s-th draft s - 1 places on is what step-by-step decoding with a cache gives."""
    together = list(drafts(head, lesson, 4))
    assert len(together) == 4
    for row, begin, left in drafts_of(lesson, 4):
        alone = engine_drafts(head, lesson, row, begin, left)
        for step in range(left):
            torch.testing.assert_close(together[step][row, begin + step], alone[step], rtol=1e-4, atol=1e-5)


def test_steps_are_learned_within_the_answer(lesson: Lesson) -> None:
    """A draft's step is learned where the draft began in the answer and has not passed its end."""
    for step in range(NUM_DRAFTS):
        wanted = {(row, begin + step) for row, begin, left in drafts_of(lesson) if step < left}
        assert {(row, place) for row, place in learned_at(lesson, step).nonzero().tolist()} == wanted


@torch.no_grad()
def test_the_loss_is_of_the_targets_distributions(
    head: DraftHead, target: PocketModel, lesson: Lesson
) -> None:
    """The mean cross entropy of each step of all drafts that an engine would make, each step at 0.8."""
    by_step: list[list[float]] = [[] for _ in range(NUM_DRAFTS)]
    for row, begin, left in drafts_of(lesson):
        said = target.output(engine_drafts(head, lesson, row, begin, left)).log_softmax(-1)
        for step in range(left):
            wanted = target.output(lesson.hidden[row, begin + step + 1]).softmax(-1)
            by_step[step].append(-float(wanted @ said[step]))
    total = sum(0.8**step * sum(losses) / len(losses) for step, losses in enumerate(by_step))
    assert loss_of(head, target.output, lesson).item() == pytest.approx(total, rel=1e-4)


@torch.no_grad()
def test_acceptance_is_that_of_an_engine(head: DraftHead, lesson: Lesson) -> None:
    """Drafts count until the first that is not the target's choice, from each place where one can begin."""
    torch.manual_seed(0)
    alone = [(*drafted, engine_drafts(head, lesson, *drafted)) for drafted in drafts_of(lesson)]
    seen: set[int] = set()
    for _ in range(8):
        output = nn.Linear(SMALL.dim, 2, bias=False)  # so that a random head is often right
        yields: list[int] = []
        for row, begin, left, said in alone:
            wanted = output(lesson.hidden[row, begin + 1 : begin + 1 + left]).argmax(-1)
            yields.append(1 + int((output(said).argmax(-1) == wanted).int().cumprod(0).sum()))
        assert acceptance_length(head, output, [lesson]) == pytest.approx(sum(yields) / len(yields))
        seen |= set(yields)
    assert seen == {1, 2, 3, 4}


class Oracle(DraftHead):
    """A head that knows what is wanted, and says it at some steps and something else at others."""

    def __init__(self, wanted: Tensor, right: tuple[bool, ...]) -> None:
        super().__init__(SMALL)
        self._said = iter([wanted if knows else wanted.flip(-1) for knows in right])

    def forward(self, embedded: Tensor, hidden: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """What is wanted of all texts, whatever is read."""
        return next(self._said).flatten(0, 1)


@pytest.mark.parametrize(
    ("right", "length"),
    [
        ((True, True, True), 4),
        ((False, False, False), 1),
        ((True, False, True), 2),
        ((True, True, False), 3),
        ((False, True, True), 1),
    ],
)
def test_acceptance_of_heads_that_know(right: tuple[bool, ...], length: float) -> None:
    """1 and as many drafts as are right from the first on, but for those that the text's end cuts short."""
    torch.manual_seed(0)
    num_places = 1000
    wanted = functional.one_hot(torch.randint(3, (2, num_places + 9)), 6).float()
    learned = torch.zeros(2, num_places + 9, dtype=torch.bool)
    learned[:, 4 : 4 + num_places] = True
    zeros = torch.zeros(2, num_places + 9, SMALL.dim)
    given = Lesson(zeros, zeros, wanted, learned)
    cut_short = sum(range(round(length) - 1)) / num_places
    found = acceptance_length(Oracle(wanted, right), nn.Identity(), [given])
    assert found == pytest.approx(length - cut_short)


@torch.no_grad()
def total_loss(trainer: HeadTrainer, given: list[Lesson]) -> float:
    """Of a run's head as it is now."""
    return sum(float(loss_of(trainer.head, trainer.model.output, one)) for one in given)


def test_a_run_teaches_the_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lowers the loss of the head on unseen texts, leaves the target alone, and writes head and log."""
    monkeypatch.setattr("deploy.pocket.eagle.MAX_ANSWER_TOKENS", 24)  # or an untrained target does not stop
    of_target = Trainer(tmp_path, Recipe(num_steps=1, num_tokens=700), TINY)
    with torch.no_grad():
        of_target.model.output.weight *= (
            10  # or it thinks all tokens alike, and there is nothing to be guessed
        )
    of_target.train(0, math.inf, 1, 0)
    trainer = HeadTrainer(tmp_path, 700, peak_lr=0.05)
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    examples: list[Batch] = list(islice(trainer.source.batches(1, "held_out"), 1))
    given = trainer.lessons(iter(examples), 1)
    untaught = total_loss(trainer, given)
    trainer.train(num_steps=10, num_batches=2, num_workers=0, num_held_out=1)
    assert total_loss(trainer, given) < 0.9 * untaught
    assert all(torch.equal(weight, before[name]) for name, weight in trainer.model.state_dict().items())
    DraftHead(TINY).load_state_dict(torch.load(tmp_path / HEAD, weights_only=True))
    (entry,) = (json.loads(line) for line in (tmp_path / LOG).read_text().splitlines())
    assert entry["step"] == 10
    assert 1 <= entry["acceptance_length"] <= 1 + NUM_DRAFTS
