# Sets PYTHON to the interpreter of the environment: --python or $PYTHON, else the checkout's .venv, else that on PATH.
# Source it. `shows_help COUNT "$@"` prints the comment at the top of a script for --help or too few arguments.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
before=
for word in "$@"; do
    case $word in --python=*) PYTHON=${word#*=} ;; esac
    [ "$before" != --python ] || PYTHON=$word
    before=$word
done
if [ -z "${PYTHON:-}" ]; then
    PYTHON=$ROOT/.venv/bin/python
    [ -x "$PYTHON" ] || PYTHON=python3
fi
command -v "$PYTHON" > /dev/null || { echo "error: no Python at $PYTHON (run 'make venv' in $ROOT)" >&2; exit 2; }

shows_help() {
    [ $# -le "$1" ] || [[ $2 = -h || $2 = --help ]] || return 0
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    case ${2:-} in -h | --help) exit 0 ;; *) exit 2 ;; esac
}
