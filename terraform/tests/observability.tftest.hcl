mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name          = "test"
  function_name = "test-notifier"
  log_group     = "/aws/lambda/test-notifier"
  failure_queue = "test-notify-failures"
  agent_slots   = ["agent-0", "agent-1"]
}

override_resource {
  target          = aws_sns_topic.alarms
  override_during = plan
  values          = { arn = "arn:aws:sns:eu-central-1:111122223333:test-alarms" }
}

run "every_kind_of_trouble_has_an_alarm_that_somebody_hears" {
  command = plan
  module { source = "./modules/observability" }

  assert {
    condition = toset(output.alarms) == toset(concat(
      ["test-failures", "test-notifier-errors", "test-notifier-throttles", "test-server-inbox-age", "test-server-dead-letters", "test-server-disk"],
      flatten([for slot in ["agent-0", "agent-1"] : [for alarm in ["refused", "dead-cuts", "damaged", "disk", "unshipped"] : "test-${slot}-${alarm}"]]),
    ))
    error_message = "an alarm is missing"
  }
  assert {
    condition     = alltrue([for alarm in merge(aws_cloudwatch_metric_alarm.aws, aws_cloudwatch_metric_alarm.program) : alarm.alarm_actions == toset(["arn:aws:sns:eu-central-1:111122223333:test-alarms"])])
    error_message = "nobody hears an alarm"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.program["server-inbox-age"].metric_name == "sluicegate_server_oldest_owed_seconds" && aws_cloudwatch_metric_alarm.program["server-inbox-age"].dimensions == tomap({ Pipeline = "test", Slot = "server" })
    error_message = "an alarm looks at what nobody sends"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.program["agent-1-unshipped"].metric_name == "sluicegate_sink_oldest_unshipped_seconds" && aws_cloudwatch_metric_alarm.program["agent-1-unshipped"].threshold == 900
    error_message = "nobody looks at the age of what is not shipped"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.program["agent-0-disk"].treat_missing_data == "breaching"
    error_message = "an agent that is gone is taken for a healthy one"
  }
}

run "mail_and_topics_of_your_own_are_told" {
  command = plan
  module { source = "./modules/observability" }
  variables {
    alarm_emails     = ["ops@example.com"]
    alarm_topic_arns = ["arn:aws:sns:eu-central-1:111122223333:pager"]
  }

  assert {
    condition     = aws_sns_topic_subscription.email["ops@example.com"].protocol == "email" && length(aws_cloudwatch_metric_alarm.aws["failures"].alarm_actions) == 2
    error_message = "somebody is not told"
  }
}

run "the_dashboard_shows_every_slot" {
  command = plan
  module { source = "./modules/observability" }

  assert {
    condition     = strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "agent-1") && length(jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets) == 13
    error_message = "the dashboard is not whole"
  }
}

run "an_address_is_one" {
  command = plan
  module { source = "./modules/observability" }
  variables {
    alarm_emails = ["ops"]
  }
  expect_failures = [var.alarm_emails]
}

run "a_topic_is_one" {
  command = plan
  module { source = "./modules/observability" }
  variables {
    alarm_topic_arns = ["arn:aws:sqs:eu-central-1:111122223333:q"]
  }
  expect_failures = [var.alarm_topic_arns]
}

run "unshipped_is_5_minutes_or_more" {
  command = plan
  module { source = "./modules/observability" }
  variables {
    limits = { unshipped_minutes = 1 }
  }
  expect_failures = [var.limits]
}

run "a_disk_is_not_over_full" {
  command = plan
  module { source = "./modules/observability" }
  variables {
    limits = { disk_percent = 100 }
  }
  expect_failures = [var.limits]
}

run "an_age_is_a_minute_or_more" {
  command = plan
  module { source = "./modules/observability" }
  variables {
    limits = { inbox_age_s = 1 }
  }
  expect_failures = [var.limits]
}
