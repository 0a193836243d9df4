# The server: one slot at a stable private address, which the notifier knows.

data "aws_region" "current" {}

locals {
  config = templatefile("${path.module}/server.toml.tftpl", {
    listen   = "${var.listen_address}:${var.port}"
    bucket   = var.bucket.name
    region   = data.aws_region.current.name
    endpoint = var.s3_endpoint
    prefix   = var.prefix
    handler  = var.handler
    queue    = var.pull_queue
    extra    = var.extra_config
  })
}

# It reads, and nothing else: no put, so that it cannot call itself through a notification, and no
# delete, so that it cannot take from others.
data "aws_iam_policy_document" "server" {
  statement {
    sid       = "Fetch"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${var.bucket.arn}/${var.prefix}*"]
  }

  # So that a missing object is 404, not 403: there S3 takes the key itself for the prefix. And for the
  # reconciliation, which lists what stands below ours.
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [var.bucket.arn]
    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${var.prefix}*"]
    }
  }

  dynamic "statement" {
    for_each = var.pull_queue == null ? [] : [var.pull_queue.arn]
    content {
      sid       = "Pull"
      actions   = ["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = toset(compact([var.kms_key_arn, var.secret_kms_key_arn, try(var.pull_queue.kms_key_arn, null)]))
    content {
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
    }
  }
}

module "slot" {
  source = "../instance"

  name              = var.name
  slot              = "server"
  program           = "server"
  config            = local.config
  metrics_url       = "http://127.0.0.1:${var.port}/metrics"
  secret_arn        = var.secret_arn
  artifacts         = var.artifacts
  policy_json       = data.aws_iam_policy_document.server.json
  subnet            = var.subnet
  security_group_id = var.security_group_id
  public_address    = var.instance.public_address
  instance_type     = var.instance.type
  architecture      = var.instance.architecture
  ami_id            = var.instance.ami_id
  key_name          = var.instance.key_name
  volume            = var.instance.volume
  tags              = var.tags
}
