"""What is Venturi measured against? vLLM's own server on a pool's engine, with or without our fixes to it.

    python -m tests.bench.raw_server SERVE_FILE POOL PORT [--as-shipped]

`--as-shipped` leaves out the fixes to this process, where the server parses and writes text; without all of
them the model does not load on a machine without torchvision.
"""

import argparse
import importlib
from pathlib import Path

SERVER_FIXES = ("parser_cache", "detokenizer")


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
    options.add_argument("--as-shipped", action="store_true")
    given = options.parse_args()
    cli_env_setup()
    for name in SERVER_FIXES if given.as_shipped else ():
        fix = importlib.import_module(f"parallel.vllm_plugin.{name}")
        vars(fix)["install"] = lambda: None  # what the plugin calls
    arguments = engine_arguments(load(given.serve_file).settings, given.pool)
    uvloop.run(run_server(server_namespace(arguments | {"host": "127.0.0.1", "port": given.port})))


if __name__ == "__main__":
    main()
