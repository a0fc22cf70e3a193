"""`python -m serve_app COMMAND`: look at a serve file, bring it up, ask it; make a key; play a scenario."""

import argparse
import sys
from pathlib import Path

from parallel import program
from serve_app.errors import VenturiError


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit status: 0, 1 for what failed, 2 for a wrong file."""
    parser = argparse.ArgumentParser(prog="python -m serve_app")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("check", "validate FILE and print what it resolves to, without starting anything"),
        ("up", "start Ray and FILE on this machine, ask one question at each effort, serve until Ctrl-C"),
    ):
        commands.add_parser(name, help=what, description=what).add_argument("file", type=Path)
    what = "say where a request would go under FILE and why, without starting anything"
    explain = commands.add_parser("explain", help=what, description=what)
    explain.add_argument("file", type=Path)
    explain.add_argument("request", type=Path, help="the request's JSON body")
    explain.add_argument("--route", default="/v1/chat/completions", help="the path it is sent to")
    explain.add_argument("--snapshots", type=Path, help="replicas by pool, as JSON; all are idle without")
    explain.add_argument("--json", action="store_true", help="for programs")
    what = "make an API key: print it, this once, and the line for the keys file, which has only its hash"
    key = commands.add_parser("key", help=what, description=what)
    key.add_argument("--tenant", default="default", help="the name of who will hold it")
    for name, what in (
        ("simulate", "play a scenario without a GPU, and say who met the targets at what cost"),
        ("capacity", "search for the smallest cluster that meets a scenario's targets"),
        ("divide", "say whether a scenario's GPUs serve better as two pools or as one"),
    ):
        scenario = commands.add_parser(name, help=what, description=what)
        scenario.add_argument("file", type=Path, nargs="?" if name == "simulate" else None)
        scenario.add_argument("--json", action="store_true", help="for programs")
        if name == "simulate":
            scenario.add_argument("--compare", type=Path, nargs="+", metavar="FILE", help="side by side")
            scenario.add_argument("--plot", type=Path, help="where to draw what happens over time")
    what = "print every metric of Venturi's own, as a table in Markdown"
    commands.add_parser("metrics", help=what, description=what)
    options = parser.parse_args(argv)
    if options.command == "metrics":
        from serve_app.metrics import table

        print(table())
        return 0
    if options.command == "key":
        return _key(options.tenant)
    if options.command in ("simulate", "capacity", "divide"):
        if options.command == "simulate" and not (options.file or options.compare):
            parser.error("simulate needs a FILE, or --compare FILE FILE")
        return _scenario(options)
    from serve_app import serve_file
    from serve_app.errors import ConfigError

    try:
        file = serve_file.load(options.file)
        if options.command == "explain":
            from serve_app import explain as explanation

            explained = explanation.explained(
                file.settings, options.route, options.request, options.snapshots
            )
            print(explanation.as_json(explained) if options.json else explanation.as_text(explained))
            return 0
        file.refuse_closed()
        if options.command == "check":
            from serve_app.report import report

            print(report(file))
        else:
            from serve_app.up import up

            up(file)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except VenturiError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _scenario(options: argparse.Namespace) -> int:
    from serve_app.errors import ConfigError
    from serve_app.simulator import command

    try:
        print(command.run(options))
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    return 0


def _key(name: str) -> int:
    from pydantic import ValidationError

    from serve_app.config import Tenant, problem_lines
    from serve_app.ingress.auth import key_hash, new_key

    key = new_key()
    try:
        tenant = Tenant(name=name, keys=(key_hash(key.encode()),))
    except ValidationError as error:
        for problem in error.errors():
            print("\n".join(f"--tenant: {line}" for line in problem_lines(problem)), file=sys.stderr)
        return 2
    print("The key, which is shown only now:")
    print(key)
    print("The line below `tenants:` in the keys file:")
    print(f'- {{name: {tenant.name}, keys: ["{tenant.keys[0]}"]}}')
    return 0


if __name__ == "__main__":
    program.run(main)
