#!/bin/sh
# Create $VENV with Python 3.11 or 3.12: $PYTHON if given, else the first that is found.
set -eu
[ -x "$VENV/bin/python" ] && exit 0
for candidate in ${PYTHON:-python3 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] not in {(3, 11), (3, 12)})' 2>/dev/null; then
        "$candidate" -m venv "$VENV"
        "$VENV/bin/python" -m pip --disable-pip-version-check install --quiet --upgrade pip
        exit 0
    fi
done
echo "error: Python 3.11 or 3.12 is needed (verl 0.9 and vLLM do not support others)." >&2
echo "Install one, or name it: make PYTHON=/path/to/python3.11 demo" >&2
exit 1
