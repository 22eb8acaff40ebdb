#!/usr/bin/env bash
# Generates services/casebook from proto/. `make check` runs it into a scratch folder and fails when the two differ.
# Usage: infra/generate-protos.sh [OUTPUT_FOLDER]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root/services}
python=${PYTHON:-$root/.venv/bin/python}
mkdir -p "$out"
rm -rf "${out:?}/casebook"
cd "$root"
# The Open Inference Protocol lives in proto/oip and is known to protoc, and to Python, as casebook/oip.
mapfile -t files < <(cd proto && find casebook -name '*.proto' | sort)
"$python" -m grpc_tools.protoc -I proto -I casebook/oip=proto/oip \
  --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" \
  "${files[@]}" casebook/oip/open_inference.proto
# A stub module without a service says nothing.
find "$out/casebook" -name '*_pb2_grpc.py' | while read -r file; do grep -q '^class ' "$file" || rm "$file"; done
find "$out/casebook" -type d | while read -r folder; do
  echo '"""Generated from proto/ by infra/generate-protos.sh; not edited by hand."""' > "$folder/__init__.py"
done
