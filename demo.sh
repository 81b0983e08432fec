#!/bin/sh
# The main job as a user does it: from nothing to a tuned model that answers on ONNX Runtime.
set -eu

step() {
    if [ -t 2 ]; then format='\n\033[1m$ scaffolder %s\033[0m\n'; else format='\n$ scaffolder %s\n'; fi
    # shellcheck disable=SC2059
    printf "$format" "$*" >&2
    scaffolder "$@"
}

cd "$(dirname "$0")"
question="What is the best thing to see in Chicago?"

[ -d demo-project ] || step new demo-project --defaults
cd demo-project
step download
step run fine-tuning
step run gen-model
# The base model in the same form, to compare with.
step run gen-model --preset base-onnx-int8
step generate "$question" --max-new-tokens 80
step evaluate -m base -m adapter -m base-onnx-int8 -m onnx-int8 --prompt "$question"

cat >&2 <<EOF

Everything lies in demo-project/:
  datasets/                        the examples
  fine-tuning/adapters/lora/       the adapter, and run.json: what it was made from
  gen-model/onnx-int8/             the tuned model for ONNX Runtime GenAI
  inferences/app.py                a program that uses it
EOF
