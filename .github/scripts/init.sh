#!/usr/bin/env bash
# Initializes a Terraform folder with the state that terraform/bootstrap made. The example names no
# state of its own, for whoever copies it has another one.
#
#   STATE_BUCKET=... AWS_REGION=... init.sh terraform/examples/production
set -euo pipefail
folder=$1

printf 'terraform {\n  backend "s3" {}\n}\n' >"$folder/backend_override.tf"
terraform -chdir="$folder" init -no-color \
  -backend-config="bucket=$STATE_BUCKET" \
  -backend-config="key=sluicegate/$(basename "$folder").tfstate" \
  -backend-config="region=$AWS_REGION" \
  -backend-config=use_lockfile=true
