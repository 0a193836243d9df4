#!/bin/bash
# Sends again what the notifier could not relay: each message of the failure queue goes to the
# function, and is deleted once the function has relayed it. What fails again stays in the queue.
#
#   terraform/redrive.sh FAILURE_QUEUE_URL FUNCTION_NAME
#
# Messages are of three kinds: Lambda's record of a failed invocation (the event is in
# requestPayload), what S3 sent to a queue, and EventBridge's event; the function knows all three.
set -euo pipefail
if [ $# -ne 2 ]; then
  echo "usage: redrive.sh FAILURE_QUEUE_URL FUNCTION_NAME" >&2
  exit 64
fi
queue=$1
function=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
relayed=0
failed=0
# As many as there are now: what fails again is invisible for ten minutes, and must not be met twice.
count=$(aws sqs get-queue-attributes --queue-url "$queue" --attribute-names ApproximateNumberOfMessages \
  --query Attributes.ApproximateNumberOfMessages --output text)
for ((n = 0; n < count; n++)); do
  aws sqs receive-message --queue-url "$queue" --visibility-timeout 600 --wait-time-seconds 1 --output json >"$work/message"
  jq -e '.Messages[0]' "$work/message" >/dev/null 2>&1 || break
  jq '.Messages[0].Body | fromjson | if .requestPayload then .requestPayload else . end' "$work/message" >"$work/event"
  aws lambda invoke --function-name "$function" --payload "fileb://$work/event" \
    --query FunctionError --output text "$work/answer" >"$work/error"
  if [ "$(cat "$work/error")" = None ]; then
    aws sqs delete-message --queue-url "$queue" --receipt-handle "$(jq -r '.Messages[0].ReceiptHandle' "$work/message")"
    relayed=$((relayed + 1))
  else
    echo "still not relayed: $(cat "$work/answer")" >&2
    failed=$((failed + 1))
  fi
done
echo "$relayed relayed, $failed failed again"
[ "$failed" -eq 0 ]
