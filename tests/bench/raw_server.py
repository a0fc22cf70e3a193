"""What is Venturi measured against? vLLM's own server, with a pool's engine arguments, with or without a fix.

    python -m tests.bench.raw_server SERVE_FILE POOL PORT [--without parser_cache]

`--without` leaves that one fix out of this process, where the server parses; without all of them the model
does not load on a machine without torchvision.
"""

import argparse
import importlib
from pathlib import Path


def main() -> None:
    """Serve until SIGTERM, as vLLM's own command does."""
    # Imported here: vLLM starts its engine by importing this module anew in another process.
    import uvloop
    from vllm.entrypoints.launchers.api_server.entry import run_server
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup

    from serve_app.engine.arguments import engine_arguments
    from serve_app.engine.vllm import server_namespace
    from serve_app.serve_file import load

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("serve_file", type=Path)
    options.add_argument("pool")
    options.add_argument("port", type=int)
    options.add_argument("--without", choices=["parser_cache"])
    given = options.parse_args()
    cli_env_setup()
    if given.without:
        fix = importlib.import_module(f"parallel.vllm_plugin.{given.without}")
        vars(fix)["install"] = lambda: None  # what the plugin calls
    arguments = engine_arguments(load(given.serve_file).settings, given.pool)
    uvloop.run(run_server(server_namespace(arguments | {"host": "127.0.0.1", "port": given.port})))


if __name__ == "__main__":
    main()
