"""`python -m serve_app.conformance URL`: does a server keep to its dialects, and is its model right?"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
from tqdm import tqdm

from serve_app.conformance import report
from serve_app.conformance.matrix import Cell, Matrix, Row, cells
from serve_app.conformance.mistakes import USUAL_CONTEXT
from serve_app.conformance.server import Server, Unreachable


def main(argv: Sequence[str] | None = None, transport: httpx.BaseTransport | None = None) -> int:
    """Ask the matrix; return the exit status: 0, 1 if a cell did not pass, 2 if there was nobody to ask."""
    options = _options(argv)
    chosen = cells(options.only)
    if not chosen:
        print(f"--only {options.only!r}: no cell has all of these words in its name", file=sys.stderr)
        return 2
    root = options.url.rstrip("/").removesuffix("/v1")
    try:
        with httpx.Client(base_url=root, transport=transport, trust_env=False) as http:
            server = Server(http, options.key, options.timeout_s)
            card = server.card(options.model)
            too_many = (card.get("max_model_len") or USUAL_CONTEXT) + 1
            matrix = Matrix(server, card["id"], too_many, options.max_tokens, options.structure_only)
            rows = _ask(matrix, chosen)
    except (Unreachable, httpx.InvalidURL) as error:
        print(error, file=sys.stderr)
        return 2
    print(report.table(rows))
    if options.json:
        told = {"url": root, "model": card["id"], "structure_only": options.structure_only}
        told |= {"counts": report.counts(rows), "cells": report.figures(rows)}
        options.json.write_text(json.dumps(told, indent=1) + "\n")
    return report.status(rows)


def _ask(matrix: Matrix, chosen: Sequence[Cell]) -> list[Row]:
    """The rows of all cells, with a bar on a terminal and else with a line for each."""
    rows: list[Row] = []
    with tqdm(total=len(chosen), disable=None) as bar:
        for cell in chosen:
            bar.set_description_str(cell.name)
            rows.append(matrix.row(cell))
            bar.update()
            if bar.disable:
                print(f"{len(rows)}/{len(chosen)} {report.line(rows[-1])}", file=sys.stderr, flush=True)
    return rows


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serve_app.conformance", description=__doc__)
    parser.add_argument("url", help="the server's root, with /v1 or without")
    parser.add_argument("--key", help="the API key")
    parser.add_argument("--model", help="the model's name; else the first of /v1/models")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the rows as well")
    parser.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="cells whose name has these words, such as 'chat high tool'",
    )
    parser.add_argument("--timeout-s", type=float, default=300.0, help="for one answer (%(default)g)")
    parser.add_argument("--max-tokens", type=int, default=4096, help="of one answer (%(default)s)")
    parser.add_argument(
        "--structure-only", action="store_true", help="judge the server's forms, not the model's answers"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
