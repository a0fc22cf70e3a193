"""How one engine group is laid out over ranks, GPUs and nodes, and what vLLM needs to run it."""
