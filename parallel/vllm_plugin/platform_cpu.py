"""How does vLLM come to use the communicator of `communicator_cpu`?

Reason: a platform names its communicator's class, and a platform can be replaced from outside; a communicator
cannot. Everything else, its identity as the CPU platform too, stays as vLLM has it.
No longer needed when: `communicator_cpu` is not.
"""

from vllm.platforms.cpu import CpuPlatform


class ExpertParallelCpuPlatform(CpuPlatform):
    """vLLM's CPU platform with collectives for expert parallelism, and with ranks that Ray can place."""

    # Over nodes, vLLM asks Ray for one of these a rank, and Ray has accelerator ids for no processor. A CPU
    # node says how many ranks it takes with `ray start --num-gpus`. Without a key, vLLM refuses: "current
    # platform cpu does not support ray".
    ray_device_key = "GPU"

    @classmethod
    def get_device_communicator_cls(cls) -> str:
        """Where vLLM finds the communicator's class."""
        return "parallel.vllm_plugin.communicator_cpu.UnevenCpuCommunicator"
