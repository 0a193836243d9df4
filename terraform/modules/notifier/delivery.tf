# Three ways from the bucket to the function; one is made. A permission stands before what uses it.

# === direct: S3 invokes the function

resource "aws_lambda_permission" "s3" {
  count          = var.delivery == "direct" ? 1 : 0
  statement_id   = "FromBucket"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.this.function_name
  principal      = "s3.amazonaws.com"
  source_arn     = var.bucket.arn
  source_account = local.account
}

# === sqs: S3 fills a queue, Lambda empties it

resource "aws_sqs_queue" "notices" {
  count                     = var.delivery == "sqs" ? 1 : 0
  name                      = "${var.name}-notices"
  message_retention_seconds = 1209600
  # Six times the function's, as Lambda asks: a batch must not come back while it is worked on.
  visibility_timeout_seconds        = 6 * var.timeout_s
  sqs_managed_sse_enabled           = var.kms_key_arn == null ? true : null
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = var.kms_key_arn == null ? null : 3600
  redrive_policy                    = jsonencode({ deadLetterTargetArn = aws_sqs_queue.failures.arn, maxReceiveCount = var.queue.max_receive })
  tags                              = var.tags
}

data "aws_iam_policy_document" "notices" {
  count = var.delivery == "sqs" ? 1 : 0
  statement {
    sid       = "FromBucket"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.notices[0].arn]
    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [var.bucket.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_sqs_queue_policy" "notices" {
  count     = var.delivery == "sqs" ? 1 : 0
  queue_url = aws_sqs_queue.notices[0].id
  policy    = data.aws_iam_policy_document.notices[0].json
}

resource "aws_lambda_event_source_mapping" "notices" {
  count            = var.delivery == "sqs" ? 1 : 0
  event_source_arn = aws_sqs_queue.notices[0].arn
  function_name    = aws_lambda_function.this.arn
  batch_size       = var.queue.batch_size
  # Only what failed comes back.
  function_response_types = ["ReportBatchItemFailures"]
  scaling_config { maximum_concurrency = var.queue.concurrency }
  depends_on = [aws_iam_role_policy.this]
}

# === direct and sqs: the notification itself, for a bucket of ours

resource "aws_s3_bucket_notification" "this" {
  count       = var.bucket.made ? 1 : 0
  bucket      = var.bucket.name
  eventbridge = var.delivery == "eventbridge"

  dynamic "lambda_function" {
    for_each = var.delivery == "direct" ? [1] : []
    content {
      lambda_function_arn = aws_lambda_function.this.arn
      events              = ["s3:ObjectCreated:*"]
      filter_prefix       = var.prefix
      filter_suffix       = var.suffix
    }
  }

  dynamic "queue" {
    for_each = var.delivery == "sqs" ? [1] : []
    content {
      queue_arn     = aws_sqs_queue.notices[0].arn
      events        = ["s3:ObjectCreated:*"]
      filter_prefix = var.prefix
      filter_suffix = var.suffix
    }
  }

  depends_on = [aws_lambda_permission.s3, aws_sqs_queue_policy.notices]
}

# === eventbridge: a rule beside everybody else's

resource "aws_cloudwatch_event_rule" "this" {
  count       = var.delivery == "eventbridge" ? 1 : 0
  name        = "${var.name}-object-created"
  description = "New objects below ${var.prefix} of ${var.bucket.name}"
  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail = {
      bucket = { name = [var.bucket.name] }
      object = { key = [var.suffix == "" ? { prefix = var.prefix } : { wildcard = "${var.prefix}*${var.suffix}" }] }
    }
  })
  tags = var.tags
}

resource "aws_lambda_permission" "eventbridge" {
  count          = var.delivery == "eventbridge" ? 1 : 0
  statement_id   = "FromEventBridge"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.this.function_name
  principal      = "events.amazonaws.com"
  source_arn     = aws_cloudwatch_event_rule.this[0].arn
  source_account = local.account
}

resource "aws_cloudwatch_event_target" "this" {
  count = var.delivery == "eventbridge" ? 1 : 0
  rule  = aws_cloudwatch_event_rule.this[0].name
  arn   = aws_lambda_function.this.arn
  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }
  dead_letter_config { arn = aws_sqs_queue.failures.arn }
  depends_on = [aws_lambda_permission.eventbridge, aws_sqs_queue_policy.failures]
}

data "aws_iam_policy_document" "failures" {
  count = var.delivery == "eventbridge" ? 1 : 0
  statement {
    sid       = "FromEventBridge"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.failures.arn]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_cloudwatch_event_rule.this[0].arn]
    }
  }
}

resource "aws_sqs_queue_policy" "failures" {
  count     = var.delivery == "eventbridge" ? 1 : 0
  queue_url = aws_sqs_queue.failures.id
  policy    = data.aws_iam_policy_document.failures[0].json
}
