"""Does training learn, go on where it stopped, and count what it says it counts?"""

import json
import math
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deploy.pocket.batches import Batch, Source
from deploy.pocket.export import write
from deploy.pocket.model import PocketModel, Routing
from deploy.pocket.ragged import Texts
from deploy.pocket.shape import target_params
from deploy.pocket.train import CHECKPOINT, LOG, Recipe, Trainer, plot, precision, read_log, right_answers
from tests.deploy.pocket.test_batches import batch_of, text
from tests.deploy.pocket.test_model import one_thread as one_thread
from tests.deploy.pocket.test_shape import SMALL, TINY

RECIPE = Recipe(num_steps=25, num_tokens=800, num_warmup_steps=3, peak_lr=1e-2)


def test_the_learning_rate_rises_and_falls() -> None:
    """In equal steps up to its peak, then half a cosine down to 0, where it stays."""
    recipe = Recipe(num_steps=110, peak_lr=2.0, num_warmup_steps=10)
    assert [recipe.lr(step) for step in range(10)] == pytest.approx([0.2 * n for n in range(1, 11)])
    assert recipe.lr(10) == 2.0
    assert recipe.lr(35) == pytest.approx(1 + math.sqrt(0.5))
    assert recipe.lr(60) == pytest.approx(1.0)
    assert recipe.lr(110) == recipe.lr(200) == pytest.approx(0.0)
    falling = [recipe.lr(step) for step in range(10, 111)]
    assert falling == sorted(falling, reverse=True)


@torch.no_grad()
def loss_of(model: PocketModel, batches: list[Batch]) -> float:
    """The mean loss of the answers' tokens."""
    losses = []
    for batch in batches:
        logits = model.output(model(batch.texts)[0][batch.predictors])
        losses.append(float(functional.cross_entropy(logits, batch.targets)))
    return sum(losses) / len(losses)


def test_a_run_learns(tmp_path: Path) -> None:
    """A few steps lower the loss on unseen data; the log has loss, balance, rate and right answers."""
    trainer = Trainer(tmp_path, RECIPE, TINY)
    unseen = list(islice(Source(tmp_path / "tekken.json", 800, TINY).batches(77, "train"), 2))
    untrained = loss_of(trainer.model, unseen)
    assert untrained == pytest.approx(math.log(TINY.vocab_size), abs=0.5)
    trainer.train(num_workers=0, budget_s=math.inf, eval_every=10, num_eval_batches=1)
    assert trainer.step == RECIPE.num_steps
    assert loss_of(trainer.model, unseen) < untrained - 1
    entries = list(read_log(tmp_path))
    assert [entry["step"] for entry in entries if "right" in entry] == [10, 20, 25]
    (learned,) = (entry for entry in entries if "loss" in entry)
    assert learned["step"] == 25
    assert learned["loss"] < untrained
    assert len(learned["load_entropy"]) == TINY.n_layers
    assert all(0.5 < entropy <= 1 for entropy in learned["load_entropy"])
    assert learned["lr"] == pytest.approx(0)
    assert all(0 <= share <= 1 for share in entries[-1]["right"].values())


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    """Weights, optimiser and step come back, so that its next step is that of a run never interrupted."""
    first, second = tmp_path / "first", tmp_path / "second"
    whole = Trainer(first, RECIPE, TINY)
    whole.train(0, budget_s=0, eval_every=1000, num_eval_batches=0)
    assert whole.step == 1
    shutil.copytree(first, second)
    whole.train(0, budget_s=0, eval_every=1000, num_eval_batches=0)

    resumed = Trainer(second, RECIPE, TINY)
    resumed.train(0, budget_s=0, eval_every=1000, num_eval_batches=0)
    assert resumed.step == whole.step == 2
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], weight), name
    assert [entry["step"] for entry in read_log(second)] == [1, 2]


def test_gains_and_embeddings_do_not_decay(tmp_path: Path) -> None:
    """All other weights do, and each is in one group of the optimiser."""
    trainer = Trainer(tmp_path, RECIPE, TINY)
    decay = {
        id(weight): group["weight_decay"]
        for group in trainer.optimizer.param_groups
        for weight in group["params"]
    }
    named = dict(trainer.model.named_parameters())
    kept = {name for name, weight in named.items() if decay[id(weight)] == 0}
    assert kept == {name for name in named if "norm" in name or "ln_pre" in name or "embeddings" in name}
    assert {decay[id(named[name])] for name in named.keys() - kept} == {RECIPE.weight_decay}


def test_a_finished_run_stays_as_it_is(tmp_path: Path) -> None:
    """There is nothing to do, and nothing is done."""
    recipe = replace(RECIPE, num_steps=1)
    Trainer(tmp_path, recipe, TINY).train(0, math.inf, 1000, 0)
    before = (tmp_path / LOG).read_text()
    trainer = Trainer(tmp_path, recipe, TINY)
    trainer.train(0, math.inf, 1000, 0)
    assert trainer.step == 1
    assert (tmp_path / LOG).read_text() == before


def test_another_shape_is_refused(tmp_path: Path) -> None:
    """A run goes on with the sizes it was begun with, and the error says both."""
    Trainer(tmp_path, replace(RECIPE, num_steps=1), TINY).train(0, math.inf, 1000, 0)
    assert (tmp_path / CHECKPOINT).exists()
    with pytest.raises(ValueError, match=r"'n_heads': 2, .*'n_heads': 4, "):
        Trainer(tmp_path, RECIPE, replace(TINY, n_heads=4))


class Parrot(PocketModel):
    """A model that says the text's own next token, but for some places where it says another."""

    def __init__(self, wrong: list[int]) -> None:
        super().__init__(SMALL)
        self.output = nn.Identity()
        self._wrong = wrong

    def forward(self, texts: Texts) -> tuple[Tensor, Routing]:
        """Logits [T, V] in place of hidden states."""
        said = texts.tokens.roll(-1)
        said[self._wrong] = (said[self._wrong] + 1) % SMALL.vocab_size
        share = torch.full((1, 8), 1 / 8)
        return functional.one_hot(said, SMALL.vocab_size).float(), Routing(share, share)


def test_right_answers_are_right_token_for_token() -> None:
    """One wrong token makes an answer wrong, also its end; what is said within a prompt does not matter."""
    rng = np.random.default_rng(0)
    batch = batch_of(text(rng, 3, 4), text(rng, 3, 1), text(rng, 3, 4), text(rng, 3, 4), num_padding=3)
    batch = replace(batch, families=("a none", "a none", "a high", "b.c none"))
    # Texts begin at 0, 7, 11 and 18; answers are said at 2 to 5, at 9, at 13 to 16, and at 20 to 23.
    cases: list[tuple[list[int], dict[str, float]]] = [
        ([], {"a high": 1.0, "a none": 1.0, "b.c none": 1.0}),
        ([0, 1, 6, 7, 8, 10, 11, 12, 17, 18, 19, 24], {"a high": 1.0, "a none": 1.0, "b.c none": 1.0}),
        ([2, 3], {"a high": 1.0, "a none": 0.5, "b.c none": 1.0}),
        ([5, 9], {"a high": 1.0, "a none": 0.0, "b.c none": 1.0}),
        ([16, 20], {"a high": 0.0, "a none": 1.0, "b.c none": 0.0}),
    ]
    for wrong, wanted in cases:
        assert right_answers(Parrot(wrong), [batch]) == wanted
    assert right_answers(Parrot([2]), [batch, batch, batch])["a none"] == 0.5
    assert right_answers(Parrot([]), []) == {}


def test_products_are_float32_without_a_gpu() -> None:
    """What tests see on a CPU is the exact arithmetic."""
    with precision(torch.device("cpu")):
        assert (torch.ones(1, 1) @ torch.ones(1, 1)).dtype == torch.float32


def test_the_plot_shows_loss_and_families(tmp_path: Path) -> None:
    """One picture with a curve for each family, all of its kinds and efforts together."""
    entries = [
        {"step": 100, "loss": 5.0},
        {"step": 100, "right": {"lists.words none": 0.0, "lists.words high": 0.5, "tools.seen none": 0.25}},
        {"step": 200, "loss": 1.5},
        {"step": 200, "right": {"lists.words none": 1.0, "lists.words high": 0.5, "tools.seen none": 0.75}},
    ]
    (tmp_path / LOG).write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert list(read_log(tmp_path)) == entries
    plot(tmp_path)
    drawn = (tmp_path / "loss.svg").read_text()
    assert "<svg" in drawn
    for label in ("lists", "tools", "step", "held-out answers right"):
        assert drawn.count(f"<!-- {label} -->") == 1
    assert "words" not in drawn


def test_a_run_begins_with_a_checkpoint_and_leaves_its_experts(tmp_path: Path) -> None:
    """Before its first step the model is the checkpoint's; after some, all but the routed experts moved."""
    first = PocketModel(TINY)
    write(tmp_path / "first", target_params(TINY), first.state_dict())
    recipe = replace(RECIPE, num_steps=3, fixed_experts=True, weights={"pictures.pair": 0.0})
    trainer = Trainer(tmp_path / "run", recipe, TINY, begin=tmp_path / "first")
    begun = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    for name, weight in first.state_dict().items():
        assert torch.equal(begun[name], weight.bfloat16().float())
    trainer.train(num_workers=0, budget_s=math.inf, eval_every=10, num_eval_batches=0)
    same = {
        name
        for name, weight in trainer.model.named_parameters()
        if torch.equal(weight, begun[name]) and "vision" not in name and "patch_merger" not in name
    }
    assert same == {
        f"layers.{layer}.experts.{part}" for layer in range(TINY.n_layers) for part in ("w13", "w2")
    }
