"""What vLLM 0.29 needs to run this model, added through its own plugin entry points."""


def register() -> None:
    """Install every fix in this process (entry point `vllm.general_plugins`)."""


def platform() -> str | None:
    """The platform class to use instead of vLLM's own, or None (entry point `vllm.platform_plugins`)."""
    return None
