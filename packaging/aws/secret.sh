#!/bin/bash
# Writes the secrets that this slot's program takes, current and previous, one a line, where only it
# reads them, and starts it anew when they have changed: the server those that sign notices, the agent
# the tokens of producers. Run by sluicegate-secret.timer.
set -euo pipefail
set -a
# shellcheck source=/dev/null
. "${SLUICEGATE_INSTANCE_ENV:-/etc/sluicegate/instance.env}"
set +a
file=${SLUICEGATE_SECRET_FILE:-/run/sluicegate/$SLUICEGATE_PROGRAM.secrets}
unit=sluicegate-$SLUICEGATE_PROGRAM
umask 027

value() {
  aws secretsmanager get-secret-value --secret-id "$SLUICEGATE_SECRET_ID" --version-stage "$1" --query SecretString --output text
}

# `None` is how aws writes a version without a text, such as that of a secret made empty.
current=$(value AWSCURRENT)
if [ "$current" = None ]; then
  echo "$SLUICEGATE_SECRET_ID holds no text yet" >&2
  exit 1
fi
# Before the first rotation there is no previous one.
previous=$(value AWSPREVIOUS 2>/dev/null) || previous=
previous=${previous#None}

install -d -m 0755 "$(dirname "$file")"
lines() {
  case $SLUICEGATE_PROGRAM in
    # A token without a name is that of `producers`.
    agent) sed '/:/!s/^/producers:/' ;;
    *) cat ;;
  esac
}
# Once each: a token of several may stand in both versions.
printf '%s\n' "$current" ${previous:+"$previous"} | lines | awk 'NF && !seen[$0]++' >"$file.new"
chgrp "${SLUICEGATE_SECRET_GROUP:-$unit}" "$file.new"
if cmp -s "$file.new" "$file"; then
  rm "$file.new"
else
  mv "$file.new" "$file"
  # Not at the first boot, which enables it later. Not waited for: the program starts after this unit.
  if systemctl is-enabled --quiet "$unit.service"; then
    systemctl --no-block restart "$unit.service"
  fi
fi
