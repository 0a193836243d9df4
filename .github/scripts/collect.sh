#!/usr/bin/env bash
# Puts what `cargo xtask package` made for each architecture into one folder: archives and packages
# have the architecture in their name already, the Lambda zip gets it.
#
#   collect.sh DIST RELEASE        DIST holds dist-x86_64 and dist-arm64
set -euo pipefail
dist=$1
release=$2

mkdir -p "$release"
for arch in x86_64 arm64; do
  folder=$dist/dist-$arch
  # Artifacts keep no permissions and no sums of what was not carried over: check before they are left behind.
  (cd "$folder" && sha256sum --check --quiet SHA256SUMS)
  cp "$folder"/*.tar.gz "$folder"/*.deb "$release/"
  cp "$folder/sluicegate-notifier.zip" "$release/sluicegate-notifier-$arch.zip"
done
ls -l "$release"
