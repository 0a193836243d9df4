locals {
  ours = { for metric in [
    "sluicegate_channel_events", "sluicegate_channel_used_bytes", "sluicegate_sink_cuts_pending", "sluicegate_sink_oldest_unshipped_seconds",
    "sluicegate_events_shipped_total", "sluicegate_events_dead_lettered_total", "disk_used_percent",
  ] : metric => [for slot in var.agent_slots : ["Sluicegate", metric, "Pipeline", var.name, "Slot", slot]] }
  server = { for metric in ["sluicegate_server_oldest_owed_seconds", "sluicegate_server_objects_owed", "sluicegate_server_objects_dead", "disk_used_percent"] :
    metric => ["Sluicegate", metric, "Pipeline", var.name, "Slot", var.server_slot]
  }
  charts = [
    { title = "Events that wait in the channels", metrics = local.ours.sluicegate_channel_events, stat = "Maximum" },
    { title = "Age of the oldest event that is not in the bucket, seconds", metrics = local.ours.sluicegate_sink_oldest_unshipped_seconds, stat = "Maximum" },
    { title = "Events shipped, in all", metrics = local.ours.sluicegate_events_shipped_total, stat = "Maximum" },
    { title = "Channels on disk, bytes", metrics = local.ours.sluicegate_channel_used_bytes, stat = "Maximum" },
    { title = "Objects sealed and not yet stored", metrics = local.ours.sluicegate_sink_cuts_pending, stat = "Maximum" },
    { title = "Notifier", stat = "Sum", metrics = [for metric in ["Invocations", "Errors", "Throttles"] : ["AWS/Lambda", metric, "FunctionName", var.function_name]] },
    { title = "Notifier, milliseconds", stat = "p99", metrics = [["AWS/Lambda", "Duration", "FunctionName", var.function_name]] },
    { title = "Queues", stat = "Maximum", metrics = [for queue in compact([var.failure_queue, var.notice_queue]) : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue]] },
    { title = "Server: age of the oldest object that is owed, seconds", stat = "Maximum", metrics = [local.server.sluicegate_server_oldest_owed_seconds] },
    { title = "Server: objects", stat = "Maximum", metrics = [local.server.sluicegate_server_objects_owed, local.server.sluicegate_server_objects_dead] },
    { title = "Disks, per cent", stat = "Maximum", metrics = concat(local.ours.disk_used_percent, [local.server.disk_used_percent]) },
    { title = "Events set aside", metrics = local.ours.sluicegate_events_dead_lettered_total, stat = "Maximum" },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = concat(
      [for index, chart in local.charts : {
        type   = "metric"
        x      = index % 3 * 8
        y      = floor(index / 3) * 6
        width  = 8
        height = 6
        properties = {
          title   = chart.title
          view    = "timeSeries"
          region  = data.aws_region.current.name
          stat    = chart.stat
          period  = 60
          metrics = chart.metrics
        }
      }],
      [{
        type   = "log"
        x      = 0
        y      = ceil(length(local.charts) / 3) * 6
        width  = 24
        height = 6
        properties = {
          title  = "Notifier: warnings and errors"
          region = data.aws_region.current.name
          view   = "table"
          query  = "SOURCE '${var.log_group}' | fields @timestamp, @message | filter level in ['WARN', 'ERROR'] | sort @timestamp desc | limit 50"
        }
      }],
    )
  })
}
