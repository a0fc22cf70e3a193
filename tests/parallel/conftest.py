"""What do the tests of `parallel` share? A process that has imported vLLM, for others to be copies of."""

import multiprocessing

# What a test starts by "forkserver" is such a copy: an import of vLLM takes 15 s of a core.
multiprocessing.set_forkserver_preload(
    ["torch.distributed", "vllm.v1.engine.async_llm", "vllm.v1.worker.cpu_worker"]
)
