#!/bin/sh
# Make FOLDER/venv, the command with its azureml extra apart from the training stack, and FOLDER/node_modules with
# azurite. `SCAFFOLDER_AZURE=FOLDER pytest -m azure` uses them.
set -eu
folder=$(mkdir -p "${1:?usage: $0 FOLDER [PYTHON]}" && cd "$1" && pwd)
python=${2:-python3}
repository=$(cd "$(dirname "$0")/../.." && pwd)
[ -x "$folder/venv/bin/python" ] || "$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$repository[azureml]" \
    'azure-keyvault-secrets>=4.8' 'coverage>=7'
"$folder/venv/bin/python" -m pip check
npm install --prefix "$folder" --no-audit --no-fund --silent 'azurite@^3.35'
