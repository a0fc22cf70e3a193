"""`python -m deploy.checkpoints fetch|verify|copy`: the weights, for machines without a way out."""

import argparse
import os
import sys
from pathlib import Path

from deploy.checkpoints import manifest
from deploy.checkpoints.manifest import CheckpointError


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit status: 0, or 1 for what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m deploy.checkpoints")
    commands = parser.add_subparsers(dest="command", required=True)
    what = "fetch checkpoints from a hub, or go on with it; the token is HF_TOKEN"
    fetch = commands.add_parser("fetch", help=what, description=what)
    fetch.add_argument("which", nargs="+", help="fp8, nvfp4, eagle, leanstral, or a repository's OWNER/NAME")
    fetch.add_argument("--to", type=Path, required=True, metavar="DIR", help="what `model.path` lies in")
    fetch.add_argument("--revision", help="a commit, tag or branch (default: the manifest's, or the newest)")
    fetch.add_argument("--endpoint", help="a mirror's address (default: HF_ENDPOINT, or the hub itself)")
    what = "check every file against DIR/checkpoints.json, offline"
    verify = commands.add_parser("verify", help=what, description=what)
    verify.add_argument("root", type=Path, metavar="DIR")
    what = "copy all checkpoints of DIR to another disk, and check what arrives"
    copy = commands.add_parser("copy", help=what, description=what)
    copy.add_argument("root", type=Path, metavar="DIR")
    copy.add_argument("target", type=Path)
    options = parser.parse_args(argv)
    if options.command == "fetch" and options.revision and len(options.which) > 1:
        parser.error("--revision is of one repository, so name one")
    try:
        match options.command:
            case "fetch":
                # Imported here: what is air-gapped needs none of it.
                from deploy.checkpoints import hub

                for which in options.which:
                    hub.fetch(
                        which, options.to, options.revision, options.endpoint, os.environ.get("HF_TOKEN")
                    )
            case "verify":
                manifest.verify(options.root)
            case "copy":
                manifest.copy(options.root, options.target)
    except CheckpointError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
