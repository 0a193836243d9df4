# The agents: a slot each, and one balancer in front of them where it is asked for.

data "aws_region" "current" {}

locals {
  # Whether the agents ask who is sending. Netcat cannot ask, so that it is off where they do.
  tokens = var.token_version != null
  # Most of the volume; the rest is for staging, journals and the file system.
  capacity_gb = floor(var.instance.volume.size_gb * 0.7)
  queue_keys  = distinct([for queue in var.queues : queue.kms_key_arn if queue.kms_key_arn != null])
  config = templatefile("${path.module}/agent.toml.tftpl", {
    listen         = var.listen_address
    ports          = var.ports
    tokens         = local.tokens
    bucket         = var.bucket.name
    region         = data.aws_region.current.name
    endpoint       = var.s3_endpoint
    prefix         = var.prefix
    control_prefix = var.control_prefix
    partition      = var.partition
    format         = var.format
    codec          = var.codec
    storage_class  = var.storage_class
    object_tags    = var.object_tags
    roll           = var.roll
    capacity_gb    = max(1, local.capacity_gb)
    staging_gb     = max(1, floor(var.instance.volume.size_gb * 0.15))
    extra          = var.extra_config
  })
  # One agent is replaced by its own group; of several, one after the other, so that producers always
  # find one.
  rolling = var.replacement == "rolling" && var.number > 1
  slots   = { for index in range(var.number) : "agent-${index}" => var.subnets[index % length(var.subnets)] }
}

# === the token of producers

resource "aws_secretsmanager_secret" "ingest" {
  #checkov:skip=CKV_AWS_149: kms_key_arn chooses; the service's own key costs nothing
  #checkov:skip=CKV2_AWS_57: token_version rotates it
  count                   = local.tokens ? 1 : 0
  name                    = "${var.name}/ingest"
  description             = "Producers say it. AWSCURRENT and AWSPREVIOUS are taken."
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.secret_recovery_days
  tags                    = var.tags
}

# As that of the notices: in no plan and in no state.
resource "aws_secretsmanager_secret_version" "ingest" {
  count                    = local.tokens ? 1 : 0
  secret_id                = aws_secretsmanager_secret.ingest[0].id
  secret_string_wo         = var.token
  secret_string_wo_version = var.token_version
}

# === what an agent may do

data "aws_iam_policy_document" "agent" {
  statement {
    sid       = "Put"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    resources = ["${var.bucket.arn}/${var.prefix}*"]
  }

  # HEAD and GET are one action. A HEAD tells whether a put whose answer was lost has arrived.
  statement {
    sid       = "Look"
    actions   = ["s3:GetObject"]
    resources = ["${var.bucket.arn}/${var.prefix}*", "${var.bucket.arn}/${var.control_prefix}*"]
  }

  statement {
    sid       = "Claim"
    actions   = ["s3:PutObject"]
    resources = ["${var.bucket.arn}/${var.control_prefix}*"]
  }

  dynamic "statement" {
    for_each = length(var.object_tags) == 0 ? [] : [1]
    content {
      sid       = "Tag"
      actions   = ["s3:PutObjectTagging"]
      resources = ["${var.bucket.arn}/${var.prefix}*", "${var.bucket.arn}/${var.control_prefix}*"]
    }
  }

  # Without it S3 answers 403 for an object that is not there, and "absent" could not be told from
  # "forbidden".
  statement {
    sid       = "TellAbsentFromForbidden"
    actions   = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [var.bucket.arn]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]
    content {
      sid       = "Key"
      actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = length(var.queues) == 0 ? [] : [1]
    content {
      sid       = "Consume"
      actions   = ["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
      resources = var.queues[*].arn
    }
  }

  dynamic "statement" {
    for_each = length(local.queue_keys) == 0 ? [] : [1]
    content {
      sid       = "QueueKeys"
      actions   = ["kms:Decrypt"]
      resources = local.queue_keys
    }
  }
}

module "slot" {
  source   = "../instance"
  for_each = local.slots

  name              = var.name
  slot              = each.key
  program           = "agent"
  config            = local.config
  metrics_url       = "http://127.0.0.1:8081/metrics"
  secret_arn        = one(aws_secretsmanager_secret.ingest[*].arn)
  artifacts         = var.artifacts
  policy_json       = data.aws_iam_policy_document.agent.json
  subnet            = each.value
  security_group_id = var.security_group_id
  public_address    = var.instance.public_address
  instance_type     = var.instance.type
  architecture      = var.instance.architecture
  ami_id            = var.instance.ami_id
  key_name          = var.instance.key_name
  volume            = var.instance.volume
  refresh           = !local.rolling
  target_group_arns = [for group in aws_lb_target_group.this : group.arn]
  tags              = var.tags
}

# === replacement

# What replaces an instance changes the version of its slot's template. All groups know theirs before
# the first instance goes.
resource "terraform_data" "roll" {
  count            = local.rolling ? 1 : 0
  triggers_replace = { for name, slot in module.slot : name => slot.launch_template_version }

  provisioner "local-exec" {
    command = join(" ", concat(["bash", "'${path.module}/roll.sh'", var.name],
    [for name, slot in module.slot : "${name}=${slot.autoscaling_group}"]))
    environment = { AWS_REGION = data.aws_region.current.name, AWS_DEFAULT_REGION = data.aws_region.current.name }
  }

  depends_on = [aws_lb_listener.this]
}
