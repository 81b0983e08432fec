#!/bin/sh
# Make the release tags again from RELEASES, in a clone that came without them.
set -eu
cd "$(dirname "$0")/.."
grep -v '^#' RELEASES | while read -r tag commit; do
    git rev-parse -q --verify "refs/tags/$tag" >/dev/null || git tag "$tag" "$commit"
    echo "$tag $commit"
done
