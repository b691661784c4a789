#!/usr/bin/env bash
# Completes a photo over REST with curl alone.
#
#   examples/clients/rest.sh http://localhost:8501 photo.jpg mask.png completed.png
set -euo pipefail
[ $# -eq 4 ] || { echo "usage: rest.sh URL PHOTO MASK OUT" >&2; exit 2; }
url="$1/v1/models/${MODEL:-portrait}" photo=$2 mask=$3 out=$4
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# 200 does not say that the model answers; its state does.
curl -sS --fail-with-body "$url" | tee "$folder/state"
grep -q AVAILABLE "$folder/state"

# Column form; the names that end in _bytes are base64 in the answer.
printf '{"signature_name": "encoded", "inputs": {"image_bytes": [{"b64": "%s"}], "mask_bytes": [{"b64": "%s"}]}}' \
  "$(base64 -w0 "$photo")" "$(base64 -w0 "$mask")" > "$folder/request"
curl -sS -d "@$folder/request" -o "$folder/answer" -w '%{http_code}\n' "$url:predict" > "$folder/code"
if [ "$(cat "$folder/code")" != 200 ]; then
  cat "$folder/answer" >&2
  exit 1
fi
tr -d ' \n' < "$folder/answer" |
  sed -E 's/.*"completed_bytes":\[\{"b64":"([^"]*)"\}\].*/\1/' | base64 -d > "$out"
