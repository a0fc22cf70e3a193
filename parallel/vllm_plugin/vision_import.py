"""Why is one function of `transformers` defined here?

Reason: vLLM's Pixtral vision tower, which this model has, imports a helper of four lines from a module of
transformers that imports torchvision at its top. The CPU build of vLLM comes without a torchvision that fits
it.
Upstream symptom: `ModuleNotFoundError: No module named 'torchvision'` while vLLM inspects the model, reported
as `Model architectures ['PixtralForConditionalGeneration'] failed to be inspected.`
No longer needed when: `import vllm.model_executor.models.pixtral` works without torchvision.
"""

import importlib.machinery
import importlib.util
import sys
import types

MODULE = "transformers.models.pixtral.image_processing_pixtral"


def num_patches(image_size: tuple[int, int], patch_size: int | tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of patches that cover an image of (height, width) pixels; partial patches count."""
    patch_height, patch_width = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
    height, width = image_size
    return -(-height // patch_height), -(-width // patch_width)


def has_torchvision() -> bool:
    """Whether torchvision is installed, in which case nothing is missing."""
    return importlib.util.find_spec("torchvision") is not None


def in_effect() -> bool:
    """Whether vLLM's import of the helper succeeds in this process."""
    return has_torchvision() or MODULE in sys.modules


def install() -> None:
    """Put a module with the helper alone where transformers' own cannot be imported."""
    if in_effect():
        return
    module = types.ModuleType(
        MODULE, doc="Only what vLLM's Pixtral imports, for machines without torchvision."
    )
    # Without a spec, importlib.util.find_spec would raise on this entry of sys.modules.
    module.__spec__ = importlib.machinery.ModuleSpec(MODULE, loader=None)
    vars(module)["_num_image_tokens"] = num_patches
    sys.modules[MODULE] = module
