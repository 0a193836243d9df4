mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name              = "test"
  package           = "./tests/fixtures/dist/arm64/sluicegate-notifier.zip"
  bucket            = { name = "events", arn = "arn:aws:s3:::events", made = true }
  prefix            = "events/"
  notify_url        = "http://10.42.0.10:8090/v1/notices"
  subnet_ids        = ["subnet-1"]
  security_group_id = "sg-1"
}

override_resource {
  target          = aws_sqs_queue.failures
  override_during = plan
  values          = { arn = "arn:aws:sqs:eu-central-1:111122223333:test-notify-failures", id = "https://sqs/failures" }
}

override_resource {
  target          = aws_sqs_queue.notices
  override_during = plan
  values          = { arn = "arn:aws:sqs:eu-central-1:111122223333:test-notices", id = "https://sqs/notices" }
}

override_resource {
  target          = aws_secretsmanager_secret.notify
  override_during = plan
  values          = { arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:test/notify-AbCdEf", id = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:test/notify-AbCdEf" }
}

override_resource {
  target          = aws_iam_role.this
  override_during = plan
  values          = { arn = "arn:aws:iam::111122223333:role/sluicegate/test-notifier", id = "test-notifier" }
}

override_resource {
  target          = aws_cloudwatch_log_group.this
  override_during = plan
  values          = { arn = "arn:aws:logs:eu-central-1:111122223333:log-group:/aws/lambda/test-notifier" }
}

override_resource {
  target          = aws_lambda_function.this
  override_during = plan
  values          = { arn = "arn:aws:lambda:eu-central-1:111122223333:function:test-notifier" }
}

override_resource {
  target          = aws_cloudwatch_event_rule.this
  override_during = plan
  values          = { arn = "arn:aws:events:eu-central-1:111122223333:rule/test-object-created" }
}

run "the_function_is_small_native_and_hears_only_new_objects_below_the_prefix" {
  command = plan
  module { source = "./modules/notifier" }

  assert {
    condition     = aws_lambda_function.this.runtime == "provided.al2023" && aws_lambda_function.this.architectures == tolist(["arm64"]) && aws_lambda_function.this.source_code_hash == filebase64sha256("./tests/fixtures/dist/arm64/sluicegate-notifier.zip")
    error_message = "the function is not the package"
  }
  assert {
    condition     = one(aws_s3_bucket_notification.this[0].lambda_function).filter_prefix == "events/" && one(aws_s3_bucket_notification.this[0].lambda_function).events == toset(["s3:ObjectCreated:*"])
    error_message = "the function hears more, or less, than new objects below the prefix"
  }
  assert {
    condition     = aws_lambda_permission.s3[0].source_arn == "arn:aws:s3:::events" && aws_lambda_permission.s3[0].source_account == "111122223333" && aws_lambda_permission.s3[0].principal == "s3.amazonaws.com"
    error_message = "somebody else's bucket may invoke the function"
  }
  assert {
    condition     = aws_cloudwatch_log_group.this.name == "/aws/lambda/test-notifier" && aws_cloudwatch_log_group.this.retention_in_days == 30
    error_message = "the log is kept for ever, or is not the function's"
  }
}

run "what_fails_is_tried_again_and_then_kept" {
  command = plan
  module { source = "./modules/notifier" }

  assert {
    condition     = aws_lambda_function_event_invoke_config.this.maximum_retry_attempts == 2 && one(one(aws_lambda_function_event_invoke_config.this.destination_config).on_failure).destination == aws_sqs_queue.failures.arn && aws_sqs_queue.failures.message_retention_seconds == 1209600
    error_message = "what fails for good is lost"
  }
}

run "the_secret_is_named_and_never_shown" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    secret         = "long enough to be a secret"
    secret_version = 3
  }

  assert {
    condition     = aws_secretsmanager_secret_version.notify[0].secret_string_wo_version == 3 && aws_secretsmanager_secret_version.notify[0].secret_string_wo == null
    error_message = "the secret stands in the plan"
  }

  assert {
    condition     = aws_lambda_function.this.environment[0].variables.SLUICEGATE_NOTIFY_SECRET_ID == aws_secretsmanager_secret.notify.arn && !contains(keys(aws_lambda_function.this.environment[0].variables), "SLUICEGATE_NOTIFY_SECRET")
    error_message = "the function is told the secret itself"
  }
}

run "through_a_queue_only_what_failed_comes_back" {
  command = plan
  module { source = "./modules/notifier" }
  variables { delivery = "sqs" }

  assert {
    condition     = aws_lambda_event_source_mapping.notices[0].function_response_types == toset(["ReportBatchItemFailures"]) && one(aws_lambda_event_source_mapping.notices[0].scaling_config).maximum_concurrency == 10
    error_message = "a batch comes back whole"
  }
  assert {
    condition     = jsondecode(aws_sqs_queue.notices[0].redrive_policy) == { deadLetterTargetArn = aws_sqs_queue.failures.arn, maxReceiveCount = 5 } && aws_sqs_queue.notices[0].visibility_timeout_seconds == 360
    error_message = "what fails for good is lost, or comes back while it is worked on"
  }
  assert {
    condition     = length(aws_lambda_permission.s3) == 0 && length(aws_s3_bucket_notification.this[0].lambda_function) == 0 && one(aws_s3_bucket_notification.this[0].queue).filter_prefix == "events/"
    error_message = "the bucket still invokes the function"
  }
  assert {
    condition     = toset([for condition in data.aws_iam_policy_document.notices[0].statement[0].condition : condition.variable]) == toset(["aws:SourceArn", "aws:SourceAccount"])
    error_message = "somebody else's bucket may fill the queue"
  }
}

run "through_eventbridge_a_bucket_of_ours_is_switched_on" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    delivery = "eventbridge"
    suffix   = ".zst"
  }

  assert {
    condition     = aws_s3_bucket_notification.this[0].eventbridge && length(aws_s3_bucket_notification.this[0].lambda_function) == 0
    error_message = "the bucket does not send to EventBridge"
  }
  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.this[0].event_pattern).detail == { bucket = { name = ["events"] }, object = { key = [{ wildcard = "events/*.zst" }] } }
    error_message = "the rule hears more, or less, than new objects below the prefix"
  }
  assert {
    condition     = aws_lambda_permission.eventbridge[0].source_account == "111122223333" && one(aws_cloudwatch_event_target.this[0].dead_letter_config).arn == aws_sqs_queue.failures.arn
    error_message = "the rule may not invoke the function, or loses what fails"
  }
}

run "the_notification_of_a_foreign_bucket_is_never_planned" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    bucket   = { name = "theirs", arn = "arn:aws:s3:::theirs", made = false }
    delivery = "eventbridge"
  }

  assert {
    condition     = length(aws_s3_bucket_notification.this) == 0
    error_message = "everybody else's notifications would be replaced"
  }
  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.this[0].event_pattern).detail == { bucket = { name = ["theirs"] }, object = { key = [{ prefix = "events/" }] } }
    error_message = "the rule does not listen to the foreign bucket"
  }
  assert {
    condition     = strcontains(output.switch_on_eventbridge, "get-bucket-notification-configuration --bucket theirs") && strcontains(output.switch_on_eventbridge, "EventBridgeConfiguration")
    error_message = "nobody is told how to switch EventBridge on"
  }
}

run "a_key_is_used_everywhere" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/1"
    delivery    = "sqs"
  }

  assert {
    condition     = aws_sqs_queue.failures.kms_master_key_id == var.kms_key_arn && aws_sqs_queue.notices[0].kms_master_key_id == var.kms_key_arn && aws_secretsmanager_secret.notify.kms_key_id == var.kms_key_arn && aws_cloudwatch_log_group.this.kms_key_id == var.kms_key_arn
    error_message = "something is not encrypted with the key"
  }
}

run "a_package_that_is_not_built_names_the_command" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    package = "./tests/fixtures/dist/arm64/absent.zip"
  }
  expect_failures = [var.package]
}

run "an_architecture_is_one_of_two" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    architecture = "aarch64"
  }
  expect_failures = [var.architecture]
}

run "an_empty_prefix_would_recurse" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    prefix = ""
  }
  expect_failures = [var.prefix]
}

run "a_delivery_is_one_of_three" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    delivery = "sns"
  }
  expect_failures = [var.delivery]
}

run "a_foreign_bucket_is_heard_through_eventbridge_alone" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    bucket = { name = "theirs", arn = "arn:aws:s3:::theirs", made = false }
  }
  expect_failures = [var.delivery]
}

run "a_url_holds_no_user" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    notify_url = "http://me:pw@server/v1/notices"
  }
  expect_failures = [var.notify_url]
}

run "a_secret_version_counts_up" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    secret_version = 0
  }
  expect_failures = [var.secret_version]
}

run "a_secret_comes_back_within_7_to_30_days" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    secret_recovery_days = 3
  }
  expect_failures = [var.secret_recovery_days]
}

run "memory_is_what_lambda_knows" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    memory_mb = 64
  }
  expect_failures = [var.memory_mb]
}

run "an_invocation_ends_within_15_minutes" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    timeout_s = 901
  }
  expect_failures = [var.timeout_s]
}

run "no_concurrency_would_switch_it_off" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    reserved_concurrency = 0
  }
  expect_failures = [var.reserved_concurrency]
}

run "retries_are_what_lambda_knows" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    retries = 3
  }
  expect_failures = [var.retries]
}

run "an_event_lives_up_to_6_hours" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    max_event_age_s = 30
  }
  expect_failures = [var.max_event_age_s]
}

run "a_batch_is_1_to_10" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    queue = { batch_size = 11 }
  }
  expect_failures = [var.queue]
}

run "a_message_is_received_at_least_once" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    queue = { max_receive = 0 }
  }
  expect_failures = [var.queue]
}

run "a_queue_has_two_invocations_at_least" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    queue = { concurrency = 1 }
  }
  expect_failures = [var.queue]
}

run "a_log_is_kept_for_a_period_that_cloudwatch_knows" {
  command = plan
  module { source = "./modules/notifier" }
  variables {
    log_retention_days = 31
  }
  expect_failures = [var.log_retention_days]
}
