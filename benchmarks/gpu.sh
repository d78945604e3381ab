#!/usr/bin/env bash
# What a GPU is worth to grdnet_tf, in under ten minutes: docs/gpu.md says how to read it. Prints as it goes, and writes
# OUT/gpu.json. Runs on a machine without a GPU too, where it says so and measures the CPU.
#
#     benchmarks/gpu.sh [--out gpu_report] [--quick] [--only PART ...]      PYTHON=/path/to/python benchmarks/gpu.sh
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-$here/../.venv/bin/python}
[ -x "$(command -v "$python")" ] || python=python3
exec "$python" "$here/gpu.py" "$@"
