"""How is the pocket model trained?

    python -m deploy.pocket.train RUN [--steps N] [--budget-s S] [--begin CHECKPOINT [--fixed-experts]]

trains from scratch, or from a checkpoint's weights, or from where RUN/checkpoint.pt stands, until N steps are
done or S seconds have passed.
RUN gets the checkpoint, log.jsonl (loss, balance of the experts, and now and then the share of held-out
answers that are right token for token) and loss.svg. The default is meant for one H100; a small
run on a CPU is for tests. `eagle.py` trains the draft head next, `export.py` writes what engines load.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from deploy.pocket.batches import Batch, Source
from deploy.pocket.model import PocketModel
from deploy.pocket.native import load
from deploy.pocket.shape import Shape, write_tekken

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"


@dataclass(frozen=True)
class Recipe:
    """What a run's result depends on, beside the sizes of the model and the data."""

    num_steps: int = 6500
    num_tokens: int = 65536
    """Tokens a step, prompts and padding included."""
    peak_lr: float = 2.5e-3
    num_warmup_steps: int = 300
    weight_decay: float = 0.05
    balance_weight: float = 0.01
    max_gradient: float = 1.0
    seed: int = 0
    fixed_experts: bool = False
    """Whether the routed experts, two thirds of the weights, stay as they are: a small new version."""
    weights: dict[str, float] = field(default_factory=dict)
    """Weights of some families in place of their own."""

    def lr(self, step: int) -> float:
        """The learning rate of a step: a short rise, then half a cosine down to 0."""
        if step < self.num_warmup_steps:
            return self.peak_lr * (step + 1) / self.num_warmup_steps
        done = (step - self.num_warmup_steps) / max(1, self.num_steps - self.num_warmup_steps)
        return self.peak_lr * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision(place: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 products on a GPU, float32 elsewhere."""
    chosen: AbstractContextManager[Any] = torch.autocast(
        place.type, torch.bfloat16, enabled=place.type == "cuda"
    )
    return chosen


class Trainer:
    """One run: model, optimiser and the step it stands at."""

    def __init__(self, run: Path, recipe: Recipe, shape: Shape, begin: Path | None = None) -> None:
        self.run, self.recipe, self.shape = run, recipe, shape
        self.device = device()
        self.step = 0
        torch.manual_seed(recipe.seed)
        self.model = PocketModel(shape).to(self.device)
        if begin:
            self.model.load_state_dict(load(begin))
        for layer in self.model.layers:
            layer.experts.requires_grad_(not recipe.fixed_experts)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, recipe.weight_decay),
            betas=(0.9, 0.95),
            fused=self.device.type == "cuda",
        )
        if self.device.type == "cuda":
            for layer in self.model.layers:
                layer.compile()
        run.mkdir(parents=True, exist_ok=True)
        write_tekken(shape, run / "tekken.json")
        if (run / CHECKPOINT).exists():
            self._load()

    def train(self, num_workers: int, budget_s: float, eval_every: int, num_eval_batches: int) -> None:
        """Go on to the last step, or until the budget is spent; either way the run can be resumed."""
        began_s = time.monotonic()
        source = Source(self.run / "tekken.json", self.recipe.num_tokens, self.shape, self.recipe.weights)
        held_out = list(islice(source.batches(self.recipe.seed, "held_out"), num_eval_batches))
        # A resumed run does not see the same examples again.
        stream = source.stream(self.recipe.seed + self.step, num_workers)
        steps = range(self.step, self.recipe.num_steps)
        bar = tqdm(steps, initial=self.step, total=self.recipe.num_steps, disable=None)
        seen, since_s = [], time.monotonic()
        for batch in islice(stream, len(steps)):
            seen.append(self._learn(batch.to(self.device)))
            bar.update()
            self.step += 1
            if self.step % 100 == 0 or self.step == self.recipe.num_steps:
                loss, entropy = (torch.stack(part).mean(0) for part in zip(*seen, strict=True))
                tokens_per_s = len(seen) * self.recipe.num_tokens / (time.monotonic() - since_s)
                self._log(
                    loss=loss.item(),
                    load_entropy=[round(value, 3) for value in entropy.tolist()],
                    lr=self.recipe.lr(self.step),
                    tokens_per_s=round(tokens_per_s),
                )
                bar.set_postfix(loss=f"{loss.item():.4f}")
                seen, since_s = [], time.monotonic()
            spent = time.monotonic() - began_s > budget_s
            if self.step % eval_every == 0 or self.step == self.recipe.num_steps or spent:
                self._log(right=right_answers(self.model, held_out))
                self._save()
                since_s = time.monotonic()
            if spent:
                break
        bar.close()

    def _learn(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """One step: the loss, and the entropy of the experts' load [L]."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        with precision(self.device):
            hidden, routing = self.model(batch.texts)
            logits = self.model.output(hidden[batch.predictors])
            loss = functional.cross_entropy(logits.float(), batch.targets)
            balance = routing.balance_loss()
        (loss + self.recipe.balance_weight * balance).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.max_gradient)
        if norm.isfinite():
            self.optimizer.step()
        else:
            self._log(skipped="the gradient is not finite")
        return loss.detach(), routing.entropy().detach()

    def _log(self, **what: Any) -> None:
        entry = {"step": self.step} | what
        with (self.run / LOG).open("a") as file:
            file.write(json.dumps(entry) + "\n")
        if not sys.stderr.isatty():
            print(json.dumps(entry), flush=True)

    def _save(self) -> None:
        state = {
            "recipe": asdict(self.recipe),
            "shape": asdict(self.shape),
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        new = self.run / f"{CHECKPOINT}.new"
        torch.save(state, new)
        new.replace(self.run / CHECKPOINT)

    def _load(self) -> None:
        state = torch.load(self.run / CHECKPOINT, map_location=self.device, weights_only=True)
        if Shape(**state["shape"]) != self.shape:
            raise ValueError(f"{self.run}: was begun with {state['shape']}, not {asdict(self.shape)}")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Those that learn. Gains do not decay, nor do embeddings, most of which a batch does not use."""
    decayed: list[Tensor] = []
    others: list[Tensor] = []
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        (others if weight.ndim == 1 or "embeddings" in name else decayed).append(weight)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


@torch.no_grad()
def right_answers(model: PocketModel, held_out: Sequence[Batch]) -> dict[str, float]:
    """The share of answers of each family that greedy decoding would give token for token.

    No token has to be generated for it: an answer comes out as it stands if each of its tokens is the most
    probable one after those before it.
    """
    place = next(model.parameters()).device
    right: dict[str, list[bool]] = {}
    for batch in held_out:
        with precision(place):
            there = batch.to(place)
            hidden, _ = model(there.texts)
            chosen = model.output(hidden[there.predictors]).argmax(-1)
        wrong = torch.bincount(there.owners, chosen != there.targets, len(batch.families)).cpu()
        for family, num_wrong in zip(batch.families, wrong.tolist(), strict=True):
            right.setdefault(family, []).append(num_wrong == 0)
    return {family: round(sum(these) / len(these), 3) for family, these in sorted(right.items())}


def read_log(run: Path) -> Iterator[dict[str, Any]]:
    """The entries of a run's log in order."""
    with (run / LOG).open() as file:
        for line in file:
            yield json.loads(line)


def _group(name: str) -> str:
    """The family's group: `tools` of `tools.seen high`."""
    return name.split()[0].split(".")[0]


def plot(run: Path) -> None:
    """Draw RUN/loss.svg: the loss, and the held-out families' right answers, by step."""
    from matplotlib.figure import Figure

    entries = list(read_log(run))
    losses = [(entry["step"], entry["loss"]) for entry in entries if "loss" in entry]
    evals = [(entry["step"], entry["right"]) for entry in entries if "right" in entry]
    figure = Figure(figsize=(9, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(*zip(*losses, strict=True))
    above.set(yscale="log", ylabel="loss of an answer's token")
    for family in sorted({_group(name) for _, right in evals for name in right}):
        mean = [
            (step, sum(these) / len(these))
            for step, right in evals
            if (these := [share for name, share in right.items() if _group(name) == family])
        ]
        below.plot(*zip(*mean, strict=True), label=family)
    below.set(xlabel="step", ylabel="held-out answers right", ylim=(0, 1))
    below.legend(ncols=3, fontsize="small")
    figure.savefig(run / "loss.svg", metadata={"Date": None})


def _weight(text: str) -> tuple[str, float]:
    family, _, weight = text.partition("=")
    return family, float(weight)


def main(argv: Sequence[str] | None = None) -> None:
    """Train from the command line."""
    recipe = Recipe()
    parser = argparse.ArgumentParser(description="Train the pocket model.")
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--steps", type=int, default=recipe.num_steps, help="default: %(default)s")
    parser.add_argument("--tokens", type=int, default=recipe.num_tokens, help="a step; default: %(default)s")
    parser.add_argument("--lr", type=float, default=recipe.peak_lr, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=recipe.seed, help="default: %(default)s")
    parser.add_argument(
        "--begin", type=Path, help="begin with the weights of this native checkpoint's folder"
    )
    parser.add_argument("--fixed-experts", action="store_true", help="the routed experts do not learn")
    parser.add_argument(
        "--weight", action="append", default=[], type=_weight, metavar="FAMILY=W", help="instead of its own"
    )
    parser.add_argument("--workers", type=int, default=12, help="making data; default: %(default)s")
    parser.add_argument("--budget-s", type=float, default=math.inf, help="stop after so many seconds")
    parser.add_argument("--eval-every", type=int, default=2000, help="steps; default: %(default)s")
    parser.add_argument("--eval-batches", type=int, default=8, help="default: %(default)s")
    options = parser.parse_args(argv)
    recipe = replace(
        recipe,
        num_steps=options.steps,
        num_tokens=options.tokens,
        peak_lr=options.lr,
        seed=options.seed,
        fixed_experts=options.fixed_experts,
        weights=dict(options.weight),
    )
    trainer = Trainer(options.run, recipe, Shape(), options.begin)
    trainer.train(options.workers, options.budget_s, options.eval_every, options.eval_batches)
    plot(options.run)


if __name__ == "__main__":
    main()
