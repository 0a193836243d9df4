#!/usr/bin/env bash
# Prints the notes of a release: the section of CHANGELOG.md whose heading is the version. Fails where
# the workspace has another version, or where nobody wrote the section.
#
#   notes.sh 1.2.3
set -euo pipefail
version=$1
cd "$(dirname "$0")/../.."

workspace=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
if [ "$workspace" != "$version" ]; then
  echo "notes.sh: the tag says $version, Cargo.toml says $workspace" >&2
  exit 1
fi
notes=$(awk -v version="$version" '
  /^## / { found = $2 == version || $2 == "[" version "]"; next }
  found { print }
' CHANGELOG.md)
if [ -z "${notes//[[:space:]]/}" ]; then
  echo "notes.sh: CHANGELOG.md has no section \"## $version\"" >&2
  exit 1
fi
echo "$notes"
