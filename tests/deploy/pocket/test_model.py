"""Does the model in training compute what the exported one does, text by text?"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from deploy.pocket.batches import Batch
from deploy.pocket.data import Encoded
from deploy.pocket.export import write
from deploy.pocket.layers import Attend
from deploy.pocket.model import DraftHead, PocketModel, Routing
from deploy.pocket.shape import Shape, target_params
from tests.deploy.pocket.test_batches import batch_of, text
from tests.deploy.pocket.test_shape import SMALL
from tests.deploy.pocket.truth_transformers import Reference


def seeded(shape: Shape = SMALL) -> PocketModel:
    """A model of random weights, gains too, as bfloat16 has them; its logits spread by about 5.

    Embeddings and patches are small enough for the epsilons of norms to matter.
    """
    torch.manual_seed(0)
    model = PocketModel(shape)
    with torch.no_grad():
        model.output.weight *= 10
        model.tok_embeddings.weight *= 0.1
        model.vision_encoder.patch_conv.weight *= 0.1
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.uniform_(0.5, 1.5)
            weight.copy_(weight.bfloat16())
    return model


def some_texts() -> list[Encoded]:
    """Short and long ones, with none, one and two images."""
    rng = np.random.default_rng(0)
    return [text(rng, 5, 4), text(rng, 40, 3), text(rng, 9, 5, (2, 3), (1, 2)), text(rng, 4, 2, (3, 1))]


@torch.no_grad()
def logits(model: PocketModel, batch: Batch) -> list[Tensor]:
    """The logits [n, V] of each text."""
    hidden, _ = model(batch.texts)
    lengths = batch.texts.spans.starts.diff().tolist()
    return list(model.output(hidden).split(lengths)[: len(batch.families)])


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small products take a hundred times as long if threads must wait for each other on busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> PocketModel:
    """The model under test."""
    return seeded()


def test_logits_are_those_of_transformers(model: PocketModel, tmp_path: Path) -> None:
    """Exported and read by another implementation, each text alone has its logits in a padded batch."""
    write(tmp_path, target_params(SMALL), model.state_dict())
    reference = Reference(tmp_path)
    texts = some_texts()
    for one, found in zip(texts, logits(model, batch_of(*texts, num_padding=5)), strict=True):
        tokens = torch.from_numpy(one.tokens).long()
        wanted = reference.logits(tokens, list(one.images), len(tokens))
        assert 2 < wanted.std() < 10
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


def test_nothing_leaks_between_texts(model: PocketModel) -> None:
    """Other words and images in one text leave the logits of those before and behind it as they were."""
    texts = some_texts()
    before = logits(model, batch_of(*texts))
    changed = [*texts[:2], text(np.random.default_rng(1), 9, 5, (2, 3), (1, 2)), *texts[3:]]
    after = logits(model, batch_of(*changed))
    for number in (0, 1, 3):
        torch.testing.assert_close(after[number], before[number], rtol=0, atol=1e-5)
    assert (after[2] - before[2]).abs().amax(-1).min() > 0.01


def test_a_token_changes_what_follows_it_only(model: PocketModel) -> None:
    """Logits before it stay, and those from it on, also past the original length, are others."""
    one = some_texts()[1]
    tokens = one.tokens.copy()
    tokens[20] = 14 if tokens[20] != 14 else 15
    changed = Encoded(tokens, one.num_prompt_tokens, ())
    before, after = (logits(model, batch_of(each))[0] for each in (one, changed))
    torch.testing.assert_close(after[:20], before[:20], rtol=0, atol=1e-5)
    assert (after[20:] - before[20:]).abs().amax(-1).min() > 1e-3


def test_an_image_is_seen_from_its_first_token_on(model: PocketModel) -> None:
    """Every patch of it matters to all its embeddings, and to nothing before it."""
    one = some_texts()[3]
    first = one.tokens.tolist().index(10)
    for corner in ((0, 0), (-1, -1)):
        image = one.images[0].copy()
        image[:, corner[0], corner[1]] += 5
        changed = Encoded(one.tokens, one.num_prompt_tokens, (image,))
        before, after = (logits(model, batch_of(each))[0] for each in (one, changed))
        torch.testing.assert_close(after[:first], before[:first], rtol=0, atol=1e-5)
        assert (after[first:] - before[first:]).abs().amax(-1).min() > 1e-3


def test_every_weight_is_learned(model: PocketModel) -> None:
    """A batch with an image has a gradient for each parameter."""
    batch = batch_of(*some_texts())
    hidden, routing = model(batch.texts)
    loss = model.output(hidden[batch.predictors]).square().mean() + routing.balance_loss()
    names, weights = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    assert [name for name, one in zip(names, found, strict=True) if one is None or not one.any()] == []


def test_routing_is_one_row_a_layer(model: PocketModel) -> None:
    """Probabilities and shares of all experts sum to 1 in each layer."""
    _, routing = model(batch_of(*some_texts()).texts)
    for part in (routing.probability, routing.share):
        assert part.shape == (SMALL.n_layers, SMALL.num_experts)
        torch.testing.assert_close(part.sum(-1), torch.ones(SMALL.n_layers))


def test_balance_of_experts() -> None:
    """The loss is 1 for an even load and the number of experts if one takes all; entropy is 1 and 0."""
    even = torch.full((2, 8), 1 / 8)
    one = torch.eye(8)[:2]
    assert Routing(even, even).balance_loss().item() == pytest.approx(1)
    assert Routing(one, one).balance_loss().item() == pytest.approx(8)
    assert Routing(torch.stack([even[0], one[0]]), torch.stack([even[0], one[0]])).entropy().tolist() == (
        pytest.approx([1, 0], abs=1e-6)
    )
    half = torch.tensor([[0.5, 0.5, 0, 0, 0, 0, 0, 0]])
    assert Routing(half, half).balance_loss().item() == pytest.approx(4)
    assert Routing(half, half).entropy().item() == pytest.approx(1 / 3, abs=1e-6)


def test_the_head_reads_the_embedding_first() -> None:
    """Its projection has the next token's embedding before the hidden state, and its last norm is its own."""
    torch.manual_seed(0)
    head = DraftHead(SMALL)
    embedded, hidden = torch.randn(2, 3, SMALL.dim)
    for layer in head.layers:  # that add nothing
        layer.attention.wo.weight.data.zero_()
        layer.feed_forward.w2.weight.data.zero_()
    head.norm.weight.data.uniform_(0.5, 1.5)
    one = torch.eye(SMALL.dim)
    for chosen, read in ((0, embedded), (1, hidden)):
        parts = [one if chosen == place else torch.zeros_like(one) for place in range(2)]
        head.eagle_linear.weight.data = torch.cat(parts, dim=1)
        out = head(embedded, hidden, torch.arange(3), no_attention(head))
        root = (read.square().mean(-1, keepdim=True) + SMALL.norm_eps).sqrt()
        torch.testing.assert_close(out, head.norm.weight * read / root)


def no_attention(head: DraftHead) -> Attend:
    """Attention that sees nothing, and is asked for each layer of the head in order."""
    expected = iter(range(len(head.layers)))

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        assert layer == next(expected)
        return torch.zeros_like(v)

    return attend
