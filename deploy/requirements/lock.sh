#!/bin/sh
# Resolve the three locks from pyproject.toml, for Python 3.11 on Linux x86-64 (3.12 takes the same versions).
set -eu
compile() { uv pip compile -q pyproject.toml --no-annotate --python-platform x86_64-manylinux_2_28 --python-version 3.11 "$@"; }
cpu="$LOCKS/torch-needs.in --extra cpu --override $LOCKS/overrides.txt"
compile $cpu --upgrade -o "$LOCKS/cpu.lock"
compile $cpu --extra dev -c "$LOCKS/cpu.lock" -o "$LOCKS/dev.lock"
compile --extra gpu --upgrade -o "$LOCKS/gpu.lock"
