#!/usr/bin/env bash
# Puts a VS Code that a test can drive into a folder: code-server, playwright-core, Debian's Chromium.
#
#   tests/editor/setup-vscode.sh FOLDER
#   SCAFFOLDER_VSCODE=FOLDER pytest -m vscode tests/editor
#
# code-server's own install step fetches from GitHub. Here its packages come from the npm registry, without
# their scripts, and the native ones that the server cannot do without are compiled afterwards.
set -euo pipefail

folder=${1:?usage: setup-vscode.sh FOLDER}
code_server=4.100.3
playwright=1.64.1
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
log=$folder/setup.log
: >"$log"

quietly() {
  "$@" >>"$log" 2>&1 || {
    echo "failed: $* (see $log)" >&2
    exit 1
  }
}

system_packages() {
  local missing=() package
  for package in chromium ripgrep libkrb5-dev libsecret-1-dev libx11-dev libxkbfile-dev pkg-config; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  quietly apt-get update -qq
  DEBIAN_FRONTEND=noninteractive quietly apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

packages() { # folder, then npm's arguments
  (cd "$1" && shift && quietly npm install --ignore-scripts --no-audit --no-fund "$@")
}

system_packages
[ -f "$folder/package.json" ] || echo '{ "private": true }' >"$folder/package.json"
packages "$folder" "code-server@$code_server" "playwright-core@$playwright"
(cd "$folder" && quietly npm rebuild argon2 --build-from-source)

vscode=$folder/node_modules/code-server/lib/vscode
packages "$vscode" --omit=dev
# The extensions that come with VS Code (JSON, Python, Markdown) have dependencies of their own.
packages "$vscode/extensions" --omit=dev
for package in node-pty @vscode/spdlog @parcel/watcher native-watchdog kerberos; do
  # A package that does not compile here may still run from the binary it ships.
  (cd "$vscode" && npm rebuild "$package" --build-from-source >>"$log" 2>&1) || echo "not compiled: $package" >>"$log"
done
mkdir -p "$vscode/node_modules/@vscode/ripgrep/bin"
cp "$(command -v rg)" "$vscode/node_modules/@vscode/ripgrep/bin/rg"

node "$folder/node_modules/code-server/out/node/entry.js" --version
