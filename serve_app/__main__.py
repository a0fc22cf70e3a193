"""`python -m serve_app check|up FILE`: look at a serve file, or bring it up on this machine."""

import argparse
import sys
from pathlib import Path

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
    options = parser.parse_args(argv)
    from serve_app import serve_file
    from serve_app.errors import ConfigError

    try:
        file = serve_file.load(options.file)
        if options.command == "check":
            from serve_app.report import report

            print(report(file))
        else:
            from serve_app.local import up

            up(file)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except VenturiError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
