"""Which logits does the real engine give? Run as a script, so that its memory is free again afterwards.

    python truth_engine.py JOB.json LOGITS.safetensors

JOB holds `model`, the checkpoint's folder, and `prompts`, a list of `Prompt`. LOGITS holds for the prompt
at place N `tokens.N` [T], the prompt and its answer, and `logits.N` [P, V] of the last positions but the
very last: of every one if the prompt asks for that, else from the prompt's last token on.

They are what requests get: raw logits of the whole vocabulary come in the place of log-probabilities.
"""

import json
import sys
from pathlib import Path
from typing import Any, TypedDict

import torch
from PIL import Image
from safetensors.torch import save_file

NUM_ANSWER_TOKENS = 3
IMAGE_TOKEN = 10


class Prompt(TypedDict):
    """Token ids, the files of its images in their order, and whether every position's logits are wanted."""

    tokens: list[int]
    images: list[str]
    every_position: bool


def sampling(prompt: Prompt) -> Any:
    """Parameters for a short greedy answer of a fixed length, with the logits of all tokens."""
    from vllm import SamplingParams

    return SamplingParams(
        temperature=0.0,
        max_tokens=NUM_ANSWER_TOKENS,
        ignore_eos=True,
        # An image token in the answer would have no image; raw logits are from before this bias.
        logit_bias={IMAGE_TOKEN: -100.0},
        logprobs=-1,
        prompt_logprobs=-1 if prompt["every_position"] else None,
        flat_logprobs=True,
        detokenize=False,
    )


def request(prompt: Prompt) -> dict[str, Any]:
    """A prompt as the engine takes it."""
    images = [Image.open(file) for file in prompt["images"]]
    asked: dict[str, Any] = {"prompt_token_ids": prompt["tokens"]}
    return asked | ({"multi_modal_data": {"image": images}} if images else {})


def by_token(flat: Any, vocab_size: int) -> torch.Tensor:
    """Logits [P, V] of the positions that have any; a token without a value is not a number."""
    counts = torch.tensor(flat.end_indices) - torch.tensor(flat.start_indices)
    positions = torch.repeat_interleave(torch.arange(len(counts)), counts)
    logits = torch.full((len(counts), vocab_size), torch.nan)
    logits[positions, torch.tensor(flat.token_ids)] = torch.tensor(flat.logprobs)
    return logits[counts > 0]


def run(model: str, prompts: list[Prompt]) -> dict[str, torch.Tensor]:
    """Start one engine and let it answer all prompts."""
    from vllm import LLM

    llm = LLM(
        model=model,
        tokenizer_mode="mistral",
        config_format="mistral",
        load_format="mistral",
        dtype="float32",
        enforce_eager=True,
        enable_prefix_caching=False,
        max_model_len=max(len(prompt["tokens"]) for prompt in prompts) + NUM_ANSWER_TOKENS,
        max_num_seqs=4,
        limit_mm_per_prompt={"image": 2},
        logprobs_mode="raw_logits",
        max_logprobs=-1,
    )
    vocab_size = llm.llm_engine.model_config.get_vocab_size()
    results = llm.generate([request(prompt) for prompt in prompts], [sampling(prompt) for prompt in prompts])
    found: dict[str, torch.Tensor] = {}
    for place, result in enumerate(results):
        answer = result.outputs[0]
        logits = [by_token(answer.logprobs, vocab_size)]
        if result.prompt_logprobs is not None:
            logits.insert(0, by_token(result.prompt_logprobs, vocab_size))
        found[f"tokens.{place}"] = torch.tensor([*result.prompt_token_ids, *answer.token_ids])
        found[f"logits.{place}"] = torch.cat(logits)
    return found


if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text())
    save_file(run(job["model"], job["prompts"]), sys.argv[2])
