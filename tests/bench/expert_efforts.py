"""Do efforts none and high load different experts?

    python -m tests.bench.expert_efforts [--questions N] [--json FILE] [--recording FILE]

Asks the pocket model held-out questions of every family without pictures, each of them at both efforts and
otherwise word for word the same, and counts which experts its tokens choose. What is compared is the
total-variation distance of the shares of experts, layer by layer: between the efforts on the same questions,
beside what any two samples differ by, which is that between two halves of the questions at one effort.
Prompts are counted by themselves, and answers as what is added when the same prompts are answered.
`--recording` writes the counts of both efforts for `python -m parallel place`.
"""

import argparse
import hashlib
import json
import tempfile
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from deploy.pocket.data import Encoder, examples
from deploy.pocket.families import FAMILIES
from deploy.pocket.families.example import Example
from deploy.pocket.shape import Shape, write_tekken
from parallel.load import ExpertLoad, in_order, total_variation
from parallel.placement.maps import Ints
from parallel.vllm_plugin import EXPERT_COUNTER
from tests.bench.pocket import TARGET, pocket_engine

RESULTS = Path(__file__).parent / "results" / "expert_efforts.json"
EFFORTS = ("none", "high")
ANSWER_TOKENS = 256
HALVES = 20
"""Ways to halve the questions that the distance between halves is a mean of."""

PARTS = ("prompts", "answers")


def main() -> None:
    """Ask, count and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--questions", type=int, default=240)
    options.add_argument("--json", type=Path, default=RESULTS)
    options.add_argument("--recording", type=Path)
    given = options.parse_args()
    counts = counted(prompts(given.questions))
    found = {part: distances(counts[part]) for part in PARTS}
    for part, layers in found.items():
        print(f"{part}: {[int(of_effort.sum()) // 4 // len(of_effort[0]) for of_effort in counts[part]]}")
        print("| layer | between efforts | halves at none | halves at high |\n|---:|---:|---:|---:|")
        for layer, row in enumerate(layers):
            print(f"| {layer} | " + " | ".join(f"{row[name]:.3f}" for name in row) + " |")
    with (TARGET / "consolidated.safetensors").open("rb") as file:
        weights = hashlib.file_digest(file, "sha256").hexdigest()
    total = {
        part: {effort: int(of_effort.sum()) for effort, of_effort in zip(EFFORTS, counts[part], strict=True)}
        for part in PARTS
    }
    about = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "weights": weights,
        "questions": given.questions,
        "choices": total,
        "total_variation": found,
    }
    given.json.write_text(json.dumps(about, indent=1) + "\n")
    if given.recording:
        lines = []
        for place, effort in enumerate(EFFORTS):
            load = sum((counts[part][place].sum(axis=0) for part in PARTS), np.zeros((), np.int64))
            values = ExpertLoad(load, in_order(load, 1)).values()
            lines.append(json.dumps({"effort": effort} | values))
        given.recording.write_text("\n".join(lines) + "\n")


def prompts(num_questions: int) -> list[tuple[list[int], ...]]:
    """The same questions at each effort, as tokens."""
    with tempfile.TemporaryDirectory() as folder:
        write_tekken(Shape(), tekken := Path(folder) / "tekken.json")
        encoder = Encoder(tekken)
    names = [name for name in FAMILIES if not name.startswith("pictures")]

    def at(example: Example, effort: str) -> list[int]:
        asked = Example(
            example.family, example.request | {"reasoning_effort": effort}, content="-", reasoning=None
        )
        encoded = encoder.encode(asked)
        tokens: list[int] = encoded.tokens[: encoded.num_prompt_tokens].tolist()
        return tokens

    return [
        tuple(at(example, effort) for effort in EFFORTS)
        for example in islice(examples(7, "held_out", names), num_questions)
    ]


def counted(questions: list[tuple[list[int], ...]]) -> dict[str, list[Ints]]:
    """By part, for each effort: the choices of every question [questions, layers, experts]."""
    llm = pocket_engine(max_num_seqs=1, worker_cls=EXPERT_COUNTER)
    from vllm import SamplingParams

    from parallel.vllm_plugin.expert_metrics import READ

    def added(prompt: list[int], num_tokens: int) -> Ints:
        before = now()
        sampling = SamplingParams(temperature=0, max_tokens=num_tokens)
        llm.generate({"prompt_token_ids": prompt}, sampling, use_tqdm=False)
        return now() - before

    def now() -> Ints:
        (answer,) = llm.collective_rpc(READ)
        return np.array(answer["counts"], dtype=np.int64)

    by_part: dict[str, list[Ints]] = {part: [] for part in PARTS}
    for place in range(len(EFFORTS)):
        read, answered = [], []
        for question in questions:
            # The answer's first token comes of the prompt's step, so one token counts the prompt alone.
            read.append(added(question[place], 1))
            answered.append(added(question[place], ANSWER_TOKENS) - read[-1])
        by_part["prompts"].append(np.array(read))
        by_part["answers"].append(np.array(answered))
    return by_part


def distances(by_effort: list[Ints]) -> list[dict[str, Any]]:
    """Layer by layer: the distance between efforts on half of the questions each, and between halves."""
    rng = np.random.default_rng(0)
    num_questions = len(by_effort[0])
    rows: dict[str, list[Any]] = {"efforts": [], **{f"halves_{effort}": [] for effort in EFFORTS}}
    for _ in range(HALVES):
        order = rng.permutation(num_questions)
        one, other = order[: num_questions // 2], order[num_questions // 2 :]
        # Of different questions, as the halves are: what is more than theirs is the effort's.
        rows["efforts"].append(
            total_variation(by_effort[0][one].sum(axis=0), by_effort[1][other].sum(axis=0))
        )
        for effort, counts in zip(EFFORTS, by_effort, strict=True):
            halves = counts[one].sum(axis=0), counts[other].sum(axis=0)
            rows[f"halves_{effort}"].append(total_variation(*halves))
    mean = {name: np.mean(values, axis=0) for name, values in rows.items()}
    return [
        {name: round(float(values[layer]), 4) for name, values in mean.items()}
        for layer in range(by_effort[0].shape[1])
    ]


if __name__ == "__main__":
    main()
