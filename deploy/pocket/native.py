"""How do a model's weights stand in a native checkpoint, and how do they come back?"""

from pathlib import Path

import torch
from safetensors.torch import load_file

WEIGHTS = "consolidated.safetensors"

Weights = dict[str, torch.Tensor]


def native(weights: Weights) -> Weights:
    """The weights with each routed expert's by itself, w1 and w3 [F, D] and w2 [D, F], in bfloat16."""
    apart: Weights = {}
    for name, weight in weights.items():
        if name.endswith("experts.w13"):
            prefix = name.removesuffix("w13")
            for number, both in enumerate(weight):
                w1, w3 = both.T.chunk(2)
                apart |= {f"{prefix}{number}.w1.weight": w1, f"{prefix}{number}.w3.weight": w3}
        elif name.endswith("experts.w2"):
            prefix = name.removesuffix("w2")
            apart |= {f"{prefix}{number}.w2.weight": one.T for number, one in enumerate(weight)}
        else:
            apart[name] = weight
    return {name: weight.to("cpu", torch.bfloat16).contiguous() for name, weight in apart.items()}


def stacked(weights: Weights) -> Weights:
    """What `native` took apart: the routed experts of a layer as w13 [E, D, 2F] and w2 [E, F, D]."""
    together = {name: weight for name, weight in weights.items() if ".experts." not in name}
    for prefix in {name.partition(".experts.")[0] for name in weights.keys() - together.keys()}:
        prefix += ".experts."
        num_experts = sum(name.startswith(prefix) and name.endswith(".w2.weight") for name in weights)

        def of_all(matrix: str, prefix: str = prefix, num_experts: int = num_experts) -> torch.Tensor:
            return torch.stack([weights[f"{prefix}{n}.{matrix}.weight"].T for n in range(num_experts)])

        together[f"{prefix}w13"] = torch.cat((of_all("w1"), of_all("w3")), dim=-1)
        together[f"{prefix}w2"] = of_all("w2")
    return together


def load(folder: Path) -> Weights:
    """The weights of the native checkpoint in a folder, as the model has them."""
    return stacked(load_file(folder / WEIGHTS))
