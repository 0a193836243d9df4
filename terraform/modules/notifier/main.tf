# The function that relays each new object as a signed notice, and the secret that it signs with.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account  = data.aws_caller_identity.current.account_id
  function = "${var.name}-notifier"
  # Known before the function is, so that its role can speak of it.
  function_arn = "arn:${data.aws_partition.current.partition}:lambda:${data.aws_region.current.name}:${local.account}:function:${local.function}"
}

# === the secret

resource "aws_secretsmanager_secret" "notify" {
  #checkov:skip=CKV_AWS_149: kms_key_arn chooses; the service's own key costs nothing
  #checkov:skip=CKV2_AWS_57: secret_version rotates it; a rotation function would need a copy of this module's own logic
  name                    = "${var.name}/notify"
  description             = "Signs notices. AWSCURRENT signs, AWSPREVIOUS is still taken."
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.secret_recovery_days
  tags                    = var.tags
}

# Only a raised version is written. An ephemeral value in a write-only argument stands neither in the
# plan nor in the state.
resource "aws_secretsmanager_secret_version" "notify" {
  count                    = var.secret_version == null ? 0 : 1
  secret_id                = aws_secretsmanager_secret.notify.id
  secret_string_wo         = var.secret
  secret_string_wo_version = var.secret_version
}

# === the function

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_158: kms_key_arn chooses
  #checkov:skip=CKV_AWS_338: log_retention_days chooses; a log of notices is of little use after a month
  name              = "/aws/lambda/${local.function}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_50: X-Ray would trace one request to one server
  #checkov:skip=CKV_AWS_115: reserved_concurrency chooses; a limit takes from the account's
  #checkov:skip=CKV_AWS_116: the failure destination below says more than a dead-letter queue
  #checkov:skip=CKV_AWS_173: no variable is a secret
  #checkov:skip=CKV_AWS_272: the zip comes from this checkout and is pinned by its hash
  function_name    = local.function
  description      = "Relays ObjectCreated events of ${var.bucket.name} as signed notices"
  role             = aws_iam_role.this.arn
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = [var.architecture]
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  memory_size      = var.memory_mb
  timeout          = var.timeout_s

  reserved_concurrent_executions = var.reserved_concurrency

  vpc_config {
    subnet_ids                  = var.subnet_ids
    security_group_ids          = [var.security_group_id]
    ipv6_allowed_for_dual_stack = false
  }

  environment {
    variables = merge({
      SLUICEGATE_NOTIFY_URL       = var.notify_url
      SLUICEGATE_NOTIFY_SECRET_ID = aws_secretsmanager_secret.notify.arn
      SLUICEGATE_LOG_FORMAT       = "json"
    }, var.environment)
  }

  tags       = var.tags
  depends_on = [aws_iam_role_policy.this, aws_cloudwatch_log_group.this, aws_secretsmanager_secret_version.notify]
}

# === what fails

resource "aws_sqs_queue" "failures" {
  name                              = "${var.name}-notify-failures"
  message_retention_seconds         = 1209600
  sqs_managed_sse_enabled           = var.kms_key_arn == null ? true : null
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = var.kms_key_arn == null ? null : 3600
  tags                              = var.tags
}

resource "aws_lambda_function_event_invoke_config" "this" {
  function_name                = aws_lambda_function.this.function_name
  maximum_retry_attempts       = var.retries
  maximum_event_age_in_seconds = var.max_event_age_s
  destination_config {
    on_failure { destination = aws_sqs_queue.failures.arn }
  }
}
