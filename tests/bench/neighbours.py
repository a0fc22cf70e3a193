"""Do neighbouring tokens of a text choose the same experts?

    python -m tests.bench.neighbours [--questions N] [--json FILE]

What drafts cost at small batches hangs on it: a step that verifies three drafts of a request reads the
experts of four neighbours. Asks the pocket model, which has as many experts as the large one, held-out
questions of every family without pictures at both efforts, and takes which experts each token of its answers
chose. Of blocks of neighbours it counts the distinct experts, beside as many tokens of anywhere in the
answers, and beside what the cost model takes, tokens that go anywhere alike. `shared` is the part that
neighbours spare of what tokens from anywhere add to the first one's experts: 0 if they choose independently,
1 if all choose alike. The simulated routing `venturi_sticky` is measured in the same way.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from parallel.experts import distinct_experts
from parallel.machine import command_line, machine
from parallel.model_shape import MISTRAL_SMALL_4
from parallel.placement.maps import Ints
from parallel.results_file import write_json
from parallel.vllm_plugin.simulated_routing import Sticky
from tests.bench.expert_efforts import ANSWER_TOKENS, EFFORTS, prompts
from tests.bench.pocket import pocket_engine

RESULTS = Path(__file__).parent / "results" / "neighbours.json"
BLOCKS = (2, 4)
"""Tokens that one step verifies of a request."""
SHUFFLES = 20
STICKY_TOKENS = 20_000
NUM_EXPERTS, NUM_CHOSEN = MISTRAL_SMALL_4.experts, MISTRAL_SMALL_4.experts_per_token
"""Of the pocket model too."""


def main() -> None:
    """Ask, count and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--questions", type=int, default=240)
    options.add_argument("--json", type=Path, default=RESULTS)
    given = options.parse_args()
    asked = prompts(given.questions)
    llm = pocket_engine(max_num_seqs=8, enable_return_routed_experts=True)
    texts = {effort: answers(llm, [of[place] for of in asked]) for place, effort in enumerate(EFFORTS)}
    rows = [row(effort, texts[effort], block) for effort in EFFORTS for block in BLOCKS]
    rows.append(row("venturi_sticky", [sticky()], BLOCKS[-1]))
    print(
        "| text | tokens | of neighbours | from anywhere | alike | shared |\n|---|---:|---:|---:|---:|---:|"
    )
    for one in rows:
        means = (f"{np.mean(one[name]):.2f}" for name in ("neighbours", "anywhere"))
        print(f"| {one['text']} | {one['block']} | {' | '.join(means)} | {one['alike']:.2f} | {said(one)} |")
    found = {
        "machine": machine(),
        "command": command_line("tests.bench.neighbours"),
        "questions": given.questions,
        "tokens": {effort: sum(map(len, of)) for effort, of in texts.items()},
        "rows": rows,
    }
    write_json(given.json, found)


def said(one: dict[str, Any]) -> str:
    """The mean of the layers, and the least and the most of them."""
    return f"{np.mean(one['shared']):.2f} ({min(one['shared']):.2f} to {max(one['shared']):.2f})"


def answers(llm: Any, questions: Sequence[list[int]]) -> list[Ints]:
    """The experts of each answer's tokens [tokens, layers, chosen]."""
    from vllm import SamplingParams

    sampling = SamplingParams(temperature=0, max_tokens=ANSWER_TOKENS)
    done = llm.generate([{"prompt_token_ids": one} for one in questions], sampling, use_tqdm=False)
    # The last token of an answer has not been through the model.
    return [
        np.array(one.outputs[0].routed_experts, np.int64)[-(len(one.outputs[0].token_ids) - 1) :]
        for one in done
        if len(one.outputs[0].token_ids) > 1
    ]


def sticky() -> Ints:
    """Experts of tokens that the simulated routing sends [tokens, 1, chosen]."""
    logits = torch.zeros(STICKY_TOKENS, NUM_EXPERTS)
    torch.manual_seed(0)
    _, experts = Sticky().route_tokens(logits, logits, NUM_CHOSEN)
    chosen: Ints = experts.numpy().astype(np.int64)[:, None]
    return chosen


def row(text: str, experts: Sequence[Ints], block: int) -> dict[str, Any]:
    """Distinct experts of blocks of neighbours and of tokens from anywhere, layer by layer."""
    near = np.concatenate([blocks(one, block) for one in experts if len(one) >= block])
    rng = np.random.default_rng(0)
    every = np.concatenate(list(experts))
    far = [distinct(blocks(rng.permutation(every), block)) for _ in range(SHUFFLES)]
    neighbours, anywhere = distinct(near), np.mean(far, axis=0)
    spared = (anywhere - neighbours) / (anywhere - NUM_CHOSEN)
    return {
        "text": text,
        "block": block,
        "blocks": len(near),
        "neighbours": [round(float(value), 3) for value in neighbours],
        "anywhere": [round(float(value), 3) for value in anywhere],
        "alike": distinct_experts(NUM_EXPERTS, NUM_CHOSEN, block),
        "shared": [round(float(value), 3) for value in spared],
    }


def blocks(experts: Ints, block: int) -> Ints:
    """[tokens, layers, chosen] as whole blocks [blocks, block, layers, chosen]; what is left over is not."""
    whole = len(experts) // block
    return experts[: whole * block].reshape(whole, block, *experts.shape[1:])


def distinct(of_blocks: Ints) -> Any:
    """The mean number of distinct experts of a block, by layer [layers]."""
    num_blocks, block, layers, chosen = of_blocks.shape
    flat = np.sort(of_blocks.transpose(0, 2, 1, 3).reshape(num_blocks, layers, block * chosen))
    return (1 + (np.diff(flat) > 0).sum(axis=-1)).mean(axis=0)


if __name__ == "__main__":
    main()
