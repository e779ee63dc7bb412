#!/usr/bin/env bash
# Make the environment. fairseq is built against the torch that is already there (no build isolation), so that pip
# fetches no second torch into a build environment of its own.
#
#   PYTHON=python3 TORCH=torch==2.13.0 bash scripts/make_venv.sh .venv
set -euo pipefail

venv=${1:-.venv}
python=${PYTHON:-python3}
torch=${TORCH:-torch==2.13.0}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '== %s\n' "$*"; }

"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
    echo "musicbert is tested on Python 3.11 to 3.13; $python is another: set PYTHON=/path/to/python3.11" >&2
    exit 1
}
command -v c++ > /dev/null || { echo "fairseq needs a C++ compiler: install g++ or clang++" >&2; exit 1; }

if "$python" -c 'import torch' 2> /dev/null; then
    say "torch is there already: the environment uses it"
    "$python" -m venv --system-site-packages "$venv"
else
    "$python" -m venv "$venv"
fi
pip=("$venv/bin/python" -m pip --disable-pip-version-check install --quiet --progress-bar off)

say "build tools"
"${pip[@]}" 'setuptools>=77,<81' wheel 'cython>=3' 'numpy>=2'
if ! "$venv/bin/python" -c 'import torch' 2> /dev/null; then
    say "torch ($torch)"
    # TORCH may hold pip options after the requirement
    # shellcheck disable=SC2086
    "${pip[@]}" $torch
fi
say "fairseq (compiled here: about three minutes)"
"${pip[@]}" --no-build-isolation fairseq-fixed==0.12.3.1
say "musicbert and its tools"
"${pip[@]}" --no-build-isolation --editable "$root[train,dev]"
"${pip[@]}" --no-deps tinysoundfont # see the extra `sound` in setup.py
"$venv/bin/python" -c 'import torch, fairseq, musicbert; print("musicbert", musicbert.__version__, "with torch", torch.__version__)'
touch "$venv/.ready"
