#!/bin/bash
# Writes the secrets that the server takes, current and previous, one a line, where only the server
# reads them, and starts a running server anew when they have changed. Run by sluicegate-secret.timer.
set -euo pipefail
set -a
# shellcheck source=/dev/null
. "${SLUICEGATE_INSTANCE_ENV:-/etc/sluicegate/instance.env}"
set +a
file=${SLUICEGATE_SECRET_FILE:-/run/sluicegate/server.secrets}
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
printf '%s\n' "$current" ${previous:+"$previous"} >"$file.new"
chgrp "${SLUICEGATE_SECRET_GROUP:-sluicegate-server}" "$file.new"
if cmp -s "$file.new" "$file"; then
  rm "$file.new"
else
  mv "$file.new" "$file"
  systemctl try-restart sluicegate-server.service
fi
