"""How is the draft head trained?

    python -m deploy.pocket.eagle RUN [--steps N]

reads the target of RUN/checkpoint.pt, lets it answer prompts of the training split at temperatures 0 and 0.7,
and trains a head on these answers to guess the target's next tokens from its hidden states. RUN gets
eagle.pt and eagle.jsonl (loss, and the acceptance length on held-out prompts).

A head that drafts k tokens reads its own output from the second one on, so it is trained that way too: step s
reads what step s - 1 gave for the token before (as in Li et al. 2025, "EAGLE-3").

Shape legend: B texts, N tokens of the longest, D width, H heads, V vocabulary, S predicted tokens.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from deploy.pocket.batches import Batch, Source
from deploy.pocket.layers import Attend
from deploy.pocket.model import DraftHead, PocketModel
from deploy.pocket.sample import answers
from deploy.pocket.shape import Shape
from deploy.pocket.train import CHECKPOINT, Recipe, device, parameter_groups, precision

HEAD = "eagle.pt"
LOG = "eagle.jsonl"
NUM_DRAFTS = 3
TEMPERATURES = (0.0, 0.7)
MAX_ANSWER_TOKENS = 192
TEXTS_A_LESSON = 128


@dataclass(frozen=True)
class Lesson:
    """Answered texts, padded, and what the target thought of them.

    `embedded` [B, N, D], of the token after each; `hidden` [B, N, D], the target's; `wanted` [B, N, D], the
    target's hidden state after the next token, which is to be guessed; `learned` bool [B, N], where a draft
    could begin.
    """

    embedded: Tensor
    hidden: Tensor
    wanted: Tensor
    learned: Tensor


@torch.no_grad()
def lessons(model: PocketModel, batch: Batch, answered: Sequence[Tensor]) -> Iterator[Lesson]:
    """Read prompts and the target's own answers with the target, and lay them out for the head.

    Texts of about the same length go into one lesson, so that there is little padding. There is none of texts
    whose answers are all too short for a whole draft.
    """
    place = batch.texts.tokens.device
    prompts = batch.prompts()
    read = batch.with_answers([answer.to(place) for answer in answered])
    hidden, _ = model(read)
    embedded = model.embed(read)
    num_prompt = torch.tensor([len(prompt) for prompt in prompts])
    length = num_prompt + torch.tensor([len(answer) for answer in answered])
    texts = [x.to(hidden.dtype).split(length.tolist()) for x in (embedded, hidden)]
    for chosen in length.argsort().split(TEXTS_A_LESSON):
        padded = [pad_sequence([x[number] for number in chosen], batch_first=True) for x in texts]
        at = torch.arange(int(length[chosen].max()))
        learned = (at >= num_prompt[chosen, None] - 1) & (at <= length[chosen, None] - 3)
        if learned.sum(1).max() >= NUM_DRAFTS:
            yield Lesson(padded[0].roll(-1, 1), padded[1], padded[1].roll(-1, 1), learned.to(place))


def drafts(head: DraftHead, given: Lesson, num_drafts: int) -> Iterator[Tensor]:
    """The head's hidden states [B, N, D] of the first, second, .. draft of each place.

    The s-th at a place is what the head says there of a draft that began s - 1 places before. It sees what
    began there or earlier as it was read from the target, and between that its own drafts only.
    """
    num_texts, longest, _ = given.hidden.shape
    place = given.hidden.device
    positions = torch.arange(longest, device=place).repeat(num_texts)
    behind = torch.arange(longest, device=place)[:, None] - torch.arange(longest, device=place)
    held: list[list[tuple[Tensor, Tensor]]] = [[] for _ in head.layers]
    hidden = given.hidden

    def attend_at(step: int) -> Attend:
        blocks = [behind >= step, *(behind == step - earlier for earlier in range(1, step + 1))]
        mask = torch.cat(blocks, dim=1)

        def attend(layer: int, *parts: Tensor) -> Tensor:
            q, k, v = (x.unflatten(0, (num_texts, longest)).transpose(1, 2) for x in parts)
            held[layer].append((k, v))
            keys, values = (torch.cat(these, dim=2) for these in zip(*held[layer], strict=True))
            out = functional.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
            return out.transpose(1, 2).flatten(0, 1)

        return attend

    for step in range(num_drafts):
        flat = head(given.embedded.flatten(0, 1), hidden.flatten(0, 1), positions, attend_at(step))
        said = flat.unflatten(0, (num_texts, longest))
        yield said
        hidden = said.roll(1, 1)


def learned_at(given: Lesson, step: int) -> Tensor:
    """Where [B, N] the given step of a draft can stand: it began so many places before, in the answer."""
    began = given.learned.roll(step, 1)
    began[:, :step] = False
    return began & given.learned


def loss_of(head: DraftHead, output: torch.nn.Module, given: Lesson) -> Tensor:
    """Cross entropy with the target's distributions, the later drafts weighing less."""
    total = given.hidden.new_zeros(())
    for step, said in enumerate(drafts(head, given, NUM_DRAFTS)):
        where = learned_at(given, step)
        wanted = output(given.wanted[where]).float().softmax(-1)
        total = total + 0.8**step * functional.cross_entropy(output(said[where]).float(), wanted)
    return total


@torch.no_grad()
def acceptance_length(head: DraftHead, output: torch.nn.Module, lessons: Sequence[Lesson]) -> float:
    """Mean tokens a greedy verify step yields when a draft begins at any place of an answer, 1 to k + 1.

    A lower bound: near an answer's end there is no room for k drafts.
    """
    num_begun, num_kept = 0, 0
    for given in lessons:
        wanted = output(given.wanted).argmax(-1)
        kept = given.learned
        num_begun += int(kept.sum())
        for step, said in enumerate(drafts(head, given, NUM_DRAFTS)):
            right = (output(said).argmax(-1) == wanted) & learned_at(given, step)
            # A draft stands where all before it stood: each step is one place further on.
            kept = right & (kept.roll(1, 1) if step else kept)
            num_kept += int(kept.sum())
    return 1 + num_kept / num_begun


class HeadTrainer:
    """One run: the frozen target, and its head."""

    def __init__(self, run: Path, num_tokens: int, peak_lr: float) -> None:
        self.run, self.peak_lr = run, peak_lr
        self.device = device()
        state = torch.load(run / CHECKPOINT, map_location=self.device, weights_only=True)
        self.shape = Shape(**state["shape"])
        self.model = PocketModel(self.shape).to(self.device)
        self.model.load_state_dict(state["model"])
        self.model.requires_grad_(False)
        torch.manual_seed(0)
        self.head = DraftHead(self.shape).to(self.device)
        self.source = Source(run / "tekken.json", num_tokens, self.shape)
        self.generator = torch.Generator(self.device).manual_seed(0)

    def lessons(self, source: Iterator[Batch], num_batches: int) -> list[Lesson]:
        """The target's answers to the prompts of some batches, at each temperature in turn."""
        found: list[Lesson] = []
        for number, batch in enumerate(
            tqdm(islice(source, num_batches), "answers", num_batches, disable=None)
        ):
            there = batch.to(self.device)
            with precision(self.device):
                temperature = TEMPERATURES[number % len(TEMPERATURES)]
                said = answers(self.model, there, temperature, MAX_ANSWER_TOKENS, self.generator)
                found += lessons(self.model, there, said)
        return found

    def train(self, num_steps: int, num_batches: int, num_workers: int, num_held_out: int) -> None:
        """Let the target answer, train on the answers, and write the head and the log."""
        held_out = self.lessons(self.source.batches(1, "held_out"), num_held_out)
        taught = self.lessons(self.source.stream(10**6, num_workers), num_batches)
        recipe = Recipe(num_steps, peak_lr=self.peak_lr, num_warmup_steps=100)
        optimizer = torch.optim.AdamW(parameter_groups(self.head, recipe.weight_decay), betas=(0.9, 0.95))
        order = Random(0)
        for step in tqdm(range(1, num_steps + 1), "steps", disable=None):
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr(step)
            with precision(self.device):
                loss = loss_of(self.head, self.model.output, order.choice(taught))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.head.parameters(), 1.0)
            optimizer.step()
            if step % 250 == 0 or step == num_steps:
                with precision(self.device):
                    length = acceptance_length(self.head, self.model.output, held_out)
                self._log(step=step, loss=round(loss.item(), 4), acceptance_length=round(length, 3))
                torch.save(self.head.state_dict(), self.run / HEAD)

    def _log(self, **entry: float) -> None:
        with (self.run / LOG).open("a") as file:
            file.write(json.dumps(entry) + "\n")
        if not sys.stderr.isatty():
            print(json.dumps(entry), flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description="Train the pocket model's draft head.")
    parser.add_argument("run", type=Path, help="the folder of the target's run")
    parser.add_argument("--steps", type=int, default=2500, help="default: %(default)s")
    parser.add_argument(
        "--batches", type=int, default=24, help="answered by the target; default: %(default)s"
    )
    parser.add_argument("--tokens", type=int, default=131072, help="of a batch; default: %(default)s")
    parser.add_argument("--lr", type=float, default=2e-3, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=12, help="making data; default: %(default)s")
    options = parser.parse_args(argv)
    trainer = HeadTrainer(options.run, options.tokens, options.lr)
    trainer.train(options.steps, options.batches, options.workers, num_held_out=len(TEMPERATURES))


if __name__ == "__main__":
    main()
