#!/bin/bash
# Puts what the alarms look at into CloudWatch, once. Run each minute by sluicegate-metrics.timer.
#
# The program's own metrics are taken from its /metrics on loopback; series of one metric are added
# up or, where a sum means nothing, the largest counts. A program that does not answer sends
# nothing, and the alarms take missing data for trouble.
set -euo pipefail
set -a
# shellcheck source=/dev/null
. "${SLUICEGATE_INSTANCE_ENV:-/etc/sluicegate/instance.env}"
set +a
data=${SLUICEGATE_DATA_DIR:-/var/lib/sluicegate/$SLUICEGATE_PROGRAM}

# name, series (a prefix of the line), sum or max, unit
case $SLUICEGATE_PROGRAM in
  agent)
    series='sluicegate_channel_events sluicegate_channel_events{ max Count
sluicegate_channel_used_bytes sluicegate_channel_used_bytes{ max Bytes
sluicegate_sink_alarm sluicegate_sink_alarm{ max None
sluicegate_sink_cuts_pending sluicegate_sink_cuts_pending{ sum Count
sluicegate_sink_oldest_unshipped_seconds sluicegate_sink_oldest_unshipped_seconds{ max Seconds
sluicegate_sink_cuts_dead sluicegate_sink_cuts_dead{ sum Count
sluicegate_events_dead_lettered_total sluicegate_events_dead_lettered_total{ sum Count
sluicegate_events_damaged_total sluicegate_events_damaged_total{ sum Count
sluicegate_events_shipped_total sluicegate_events_shipped_total{ sum Count'
    ;;
  server)
    series='sluicegate_server_oldest_owed_seconds sluicegate_server_oldest_owed_seconds max Seconds
sluicegate_server_objects_dead sluicegate_server_objects{state="dead"} sum Count
sluicegate_server_objects_owed sluicegate_server_objects{state="owed"} sum Count'
    ;;
esac

scrape=$(curl -sf --max-time 10 "$SLUICEGATE_METRICS_URL")
used=$(df --output=pcent "$data" | tail -n 1 | tr -dc 0-9)
# Shell shorthand would split names at commas; JSON says just what is meant.
batch=$(
  {
    awk -v list="$series" '
      BEGIN {
        n = split(list, line, "\n")
        for (i = 1; i <= n; i++) { split(line[i], f, " "); name[i] = f[1]; prefix[i] = f[2]; how[i] = f[3]; unit[i] = f[4] }
      }
      /^#/ { next }
      {
        for (i = 1; i <= n; i++) if (index($0, prefix[i]) == 1) {
          value = $NF
          # The value is the last word unless an exemplar follows.
          if (match($0, / # /)) { before = substr($0, 1, RSTART - 1); m = split(before, w, " "); value = w[m] }
          if (!(i in seen) || how[i] == "sum") total[i] += value
          else if (value + 0 > total[i] + 0) total[i] = value
          seen[i] = 1
        }
      }
      END { for (i = 1; i <= n; i++) if (i in seen) print name[i], total[i] + 0, unit[i] }
    ' <<<"$scrape"
    echo "disk_used_percent $used Percent"
  } | awk -v name="$SLUICEGATE_NAME" -v slot="$SLUICEGATE_SLOT" '
    BEGIN { printf "[" }
    {
      printf "%s{\"MetricName\":\"%s\",\"Value\":%s,\"Unit\":\"%s\",\"Dimensions\":[{\"Name\":\"Pipeline\",\"Value\":\"%s\"},{\"Name\":\"Slot\",\"Value\":\"%s\"}]}", comma, $1, $2, $3, name, slot
      comma = ","
    }
    END { printf "]" }
  '
)
aws cloudwatch put-metric-data --namespace Sluicegate --metric-data "$batch"
