#!/bin/bash
# Replaces the instances of agents that are not of their group's newest launch template: one slot at a
# time, and the next only once the one before takes events again. Terraform calls it at the end of an
# apply; by hand it does the same.
#
#   roll.sh PIPELINE SLOT=GROUP...
#
# It stops at the first slot that does not come back: the others keep what they run. An apply later
# tries again, and passes over the slots that are new already.
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: roll.sh PIPELINE SLOT=GROUP..." >&2
  exit 64
fi
pipeline=$1
shift
# Longer than a volume may take to be let go (volume.sh waits 900 s).
patience=${SLUICEGATE_ROLL_PATIENCE_S:-1800}
pause=${SLUICEGATE_ROLL_PAUSE_S:-10}

# group OF QUERY: one word of what the group is.
group() {
  aws autoscaling describe-auto-scaling-groups --auto-scaling-group-names "$1" --query "AutoScalingGroups[0].$2" --output text
}

# again WHAT COMMAND...: until it succeeds.
again() {
  local what=$1 until=$((SECONDS + patience))
  shift
  until "$@"; do
    if ((SECONDS >= until)); then
      echo "gave up after ${patience} s: $what" >&2
      return 1
    fi
    sleep "$pause"
  done
}

is_new() {
  [ "$(group "$1" 'LaunchTemplate.Version')" = "$(group "$1" 'Instances[0].LaunchTemplate.Version')" ]
}

refreshed() {
  local status
  status=$(aws autoscaling describe-instance-refreshes --auto-scaling-group-name "$1" --query 'InstanceRefreshes[0].Status' --output text)
  case $status in
    Successful) ;;
    Failed | Cancelled | RollbackFailed | RollbackSuccessful)
      echo "the refresh of $1 ended as $status" >&2
      exit 1
      ;;
    *) return 1 ;;
  esac
}

# Whether each target group of the slot sends events to its instance; nothing to ask without a balancer.
has_traffic() {
  local instance target
  instance=$(group "$1" 'Instances[0].InstanceId')
  for target in $(group "$1" 'TargetGroupARNs[]'); do
    [ "$target" != None ] || continue
    [ "$(aws elbv2 describe-target-health --target-group-arn "$target" --targets "Id=$instance" \
      --query 'TargetHealthDescriptions[0].TargetHealth.State' --output text)" = healthy ] || return 1
  done
}

# Each minute a slot sends its metrics, if its agent answers.
answers() { # slot, since
  local points
  points=$(aws cloudwatch get-metric-statistics --namespace Sluicegate --metric-name sluicegate_channel_events \
    --dimensions "Name=Pipeline,Value=$pipeline" "Name=Slot,Value=$1" --statistics SampleCount --period 60 \
    --start-time "$2" --end-time "$(date -u +%Y-%m-%dT%H:%M:%SZ)" --query 'length(Datapoints)' --output text)
  [ "${points:-0}" -gt 0 ]
}

for pair in "$@"; do
  slot=${pair%%=*}
  name=${pair#*=}
  # Where the group has no instance yet, the first one is new.
  if is_new "$name" || [ "$(group "$name" 'Instances[0].InstanceId')" = None ]; then
    echo "$slot is new"
    continue
  fi
  echo "$slot is replaced"
  # One that runs already, as after an apply that was broken off, is as good.
  aws autoscaling start-instance-refresh --auto-scaling-group-name "$name" \
    --preferences '{"MinHealthyPercentage":0,"MaxHealthyPercentage":100,"SkipMatching":true}' >/dev/null ||
    [ "$(aws autoscaling describe-instance-refreshes --auto-scaling-group-name "$name" --query 'InstanceRefreshes[0].Status' --output text)" = InProgress ]
  again "the instance of $slot is replaced" refreshed "$name"
  since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  again "the balancer finds $slot healthy" has_traffic "$name"
  again "the agent of $slot answers" answers "$slot" "$since"
  echo "$slot takes events again"
done
