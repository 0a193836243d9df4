# Alarms on what an operator must know, and one page that shows the pipeline.
#
# The names of our programs' metrics are their own, sent by packaging/aws/metrics.sh.

data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  actions = concat([aws_sns_topic.alarms.arn], var.alarm_topic_arns)

  aws_alarms = {
    failures = {
      text      = "Notices could not be relayed and wait in the failure queue. The log of the notifier says why; terraform/README.md says how to send them again."
      namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = var.failure_queue }
      statistic = "Maximum", above = 0, minutes = 1
    }
    notifier-errors = {
      text      = "The notifier fails. Lambda tries again; what fails for good goes to the failure queue."
      namespace = "AWS/Lambda", metric = "Errors", dimensions = { FunctionName = var.function_name }
      statistic = "Sum", above = 0, minutes = 5
    }
    notifier-throttles = {
      text      = "Lambda holds the notifier back: its reserved concurrency, or the account's, is used up."
      namespace = "AWS/Lambda", metric = "Throttles", dimensions = { FunctionName = var.function_name }
      statistic = "Sum", above = 0, minutes = 5
    }
  }

  # What our programs send. Missing data is trouble: the program, its instance or its network is gone.
  agent_alarms = {
    unshipped = {
      text   = "An event has waited for ${var.limits.unshipped_minutes} minutes and is not in the bucket; the limit must be longer than roll.age. The agent's log says what the store answers."
      metric = "sluicegate_sink_oldest_unshipped_seconds", above = 60 * var.limits.unshipped_minutes, minutes = 1
    }
    refused = {
      text   = "The store refuses in a way that waiting does not help: credentials, permission, bucket. The agent's log names it."
      metric = "sluicegate_sink_alarm", above = 0, minutes = 1
    }
    dead-cuts = {
      text   = "The store will never take these cuts: sluicegate-agent dead list."
      metric = "sluicegate_sink_cuts_dead", above = 0, minutes = 1
    }
    damaged = {
      text   = "The disk lost events that were acknowledged. Replace the volume."
      metric = "sluicegate_events_damaged_total", above = 0, minutes = 1
    }
    disk = {
      text   = "The data volume runs full; at 100 % producers are refused."
      metric = "disk_used_percent", above = var.limits.disk_percent, minutes = 5
    }
  }
  server_alarms = {
    inbox-age = {
      text   = "Objects are not handled. The page says why."
      metric = "sluicegate_server_oldest_owed_seconds", above = var.limits.inbox_age_s, minutes = 5
    }
    dead-letters = {
      text   = "Objects were given up: GET /v1/objects?state=dead has the reasons."
      metric = "sluicegate_server_objects_dead", above = 0, minutes = 1
    }
    disk = {
      text   = "The data volume runs full; at 100 % notices are refused."
      metric = "disk_used_percent", above = var.limits.disk_percent, minutes = 5
    }
  }
  program_alarms = merge(
    merge([for slot in var.agent_slots : { for key, alarm in local.agent_alarms : "${slot}-${key}" => merge(alarm, { slot = slot }) }]...),
    { for key, alarm in local.server_alarms : "${var.server_slot}-${key}" => merge(alarm, { slot = var.server_slot }) },
  )
}

resource "aws_sns_topic" "alarms" {
  #checkov:skip=CKV_AWS_26: alarms hold no secret; kms_key_arn chooses
  name              = "${var.name}-alarms"
  kms_master_key_id = var.kms_key_arn
  tags              = var.tags
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "FromOurAlarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]
    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

resource "aws_sns_topic_subscription" "email" {
  for_each  = toset(var.alarm_emails)
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_cloudwatch_metric_alarm" "aws" {
  for_each            = local.aws_alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.text
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  period              = 60
  evaluation_periods  = each.value.minutes
  datapoints_to_alarm = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.actions
  ok_actions          = local.actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "program" {
  for_each            = local.program_alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.text
  namespace           = "Sluicegate"
  metric_name         = each.value.metric
  dimensions          = { Pipeline = var.name, Slot = each.value.slot }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  period              = 60
  # A replacement takes minutes: it waits for the volume.
  evaluation_periods  = max(10, each.value.minutes)
  datapoints_to_alarm = each.value.minutes == 1 ? 1 : 10
  treat_missing_data  = each.value.minutes == 1 ? "ignore" : "breaching"
  alarm_actions       = local.actions
  ok_actions          = local.actions
  tags                = var.tags
}
