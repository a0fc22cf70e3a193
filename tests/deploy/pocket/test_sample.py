"""Does decoding with a cache say what the model says when it reads everything anew for each token?"""

import numpy as np
import pytest
import torch
from torch import Tensor

from deploy.pocket.batches import Batch
from deploy.pocket.data import Encoded
from deploy.pocket.model import PocketModel
from deploy.pocket.sample import answers, draw
from deploy.pocket.shape import END_OF_TEXT
from tests.deploy.pocket.test_batches import batch_of, text
from tests.deploy.pocket.test_model import one_thread as one_thread
from tests.deploy.pocket.test_model import seeded

NUM_TOKENS = 10


@pytest.fixture(scope="module")
def model() -> PocketModel:
    """A model that never ends of itself, and that heeds the last token, so that answers vary."""
    model = seeded()
    with torch.no_grad():
        model.tok_embeddings.weight *= 10
        model.output.weight[END_OF_TEXT] = 0
    return model


def some_texts() -> list[Encoded]:
    """Texts with and without images, that pass the original length before the answer, in it, or never."""
    rng = np.random.default_rng(2)
    return [text(rng, 4, 1), text(rng, 12, 30), text(rng, 30, 3), text(rng, 9, 5, (2, 3), (1, 2))]


def said(model: PocketModel, batch: Batch, temperature: float = 0.0, seed: int = 0) -> list[list[int]]:
    """Answers as lists."""
    generator = torch.Generator().manual_seed(seed)
    return [one.tolist() for one in answers(model, batch, temperature, NUM_TOKENS, generator)]


@torch.no_grad()
def read_anew(model: PocketModel, one: Encoded) -> list[int]:
    """The most probable answer to one text alone, each token by a whole forward pass."""
    batch = batch_of(one)
    answer: list[int] = []
    while len(answer) < NUM_TOKENS and END_OF_TEXT not in answer:
        hidden, _ = model(batch.with_answers([torch.tensor(answer, dtype=torch.int64)]))
        answer.append(int(model.output(hidden[-1]).argmax()))
    return answer


def test_greedy_answers_are_those_of_whole_passes(model: PocketModel) -> None:
    """Token for token, for several texts of a padded batch at once, whose own answers play no part."""
    texts = some_texts()
    found = said(model, batch_of(*texts, num_padding=6))
    assert found == [read_anew(model, one) for one in texts]
    assert all(len(set(answer)) > 2 for answer in found)


def test_answers_end_with_the_end_of_the_text(model: PocketModel) -> None:
    """Each on its own, once it says so; the others go on until they may not."""
    texts = some_texts()
    before = said(model, batch_of(*texts))
    # Where the first text said its third token, that is now the end, and the token itself is not said.
    ending = seeded()
    ending.load_state_dict(model.state_dict())
    third = before[0][2]
    with torch.no_grad():
        ending.output.weight[END_OF_TEXT] = ending.output.weight[third]
        ending.output.weight[third] = 0
    found = said(ending, batch_of(*texts, num_padding=3))
    assert found[0] == [*before[0][:2], END_OF_TEXT]
    assert found == [read_anew(ending, one) for one in texts]
    assert max(len(answer) for answer in found) == NUM_TOKENS


def test_the_seed_draws(model: PocketModel) -> None:
    """Equal seeds give equal answers, others do not; near temperature 0 only the most probable is drawn."""
    batch = batch_of(*some_texts())
    assert said(model, batch, 1.0, seed=1) == said(model, batch, 1.0, seed=1)
    assert said(model, batch, 1.0, seed=1) != said(model, batch, 1.0, seed=2)
    assert said(model, batch, 1e-3) == said(model, batch)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_distribution(temperature: float) -> None:
    """As often as the softmax of logits over temperature says."""
    logits = torch.tensor([1.0, 0.0, -1.0, -100.0])
    drawn = draw(logits.expand(20000, -1), temperature, torch.Generator().manual_seed(0))
    shares: Tensor = torch.bincount(drawn, minlength=4) / 20000
    torch.testing.assert_close(shares, (logits / temperature).softmax(-1), atol=0.01, rtol=0)
