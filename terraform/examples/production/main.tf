# Three agents behind an internal balancer, everything in private subnets, S3 through SQS to the
# notifier, one KMS key, alarms by mail.

terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }

  # bootstrap/ makes this bucket and prints these lines.
  # backend "s3" {
  #   bucket       = "..."
  #   key          = "sluicegate/production.tfstate"
  #   region       = "eu-central-1"
  #   use_lockfile = true
  # }
}

variable "region" {
  description = "Region of everything."
  type        = string
  default     = "eu-central-1"
}

variable "alarm_emails" {
  description = "Who hears alarms."
  type        = list(string)
}

variable "producer_cidrs" {
  description = "Who may send events: the ranges of your other networks."
  type        = list(string)
  default     = ["10.0.0.0/8"]
}

provider "aws" {
  region = var.region
  default_tags { tags = { Environment = "production" } }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109: a key's policy speaks of this key alone
  #checkov:skip=CKV_AWS_111: the same
  #checkov:skip=CKV_AWS_356: the same
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root"]
    }
  }
  # S3 fills the queue, alarms the topic.
  statement {
    sid       = "Services"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*", "kms:Encrypt", "kms:ReEncrypt*", "kms:DescribeKey"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com", "sns.amazonaws.com", "cloudwatch.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
  statement {
    sid       = "Logs"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*", "kms:Encrypt", "kms:ReEncrypt*", "kms:DescribeKey"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${data.aws_partition.current.partition}:logs:${var.region}:${data.aws_caller_identity.current.account_id}:log-group:/aws/lambda/*"]
    }
  }
}

resource "aws_kms_key" "this" {
  description         = "Sluicegate, production"
  enable_key_rotation = true
  policy              = data.aws_iam_policy_document.key.json
}

# Made anew in every run and written when secret_version is raised; in no plan and in no state.
ephemeral "aws_secretsmanager_random_password" "notify" {
  password_length     = 48
  exclude_punctuation = true
}

module "sluicegate" {
  source = "../.."

  secret         = ephemeral.aws_secretsmanager_random_password.notify.random_password
  secret_version = 1

  name         = "sluicegate-prod"
  dist_dir     = "${path.module}/../../../dist"
  architecture = "arm64"
  kms_key_arn  = aws_kms_key.this.arn

  network      = { private = true, zone_count = 3 }
  balancer     = "internal"
  ingest_cidrs = var.producer_cidrs

  delivery = "sqs"
  notifier = { reserved_concurrency = 20, log_retention_days = 90 }

  storage = {
    expire_days   = 400
    storage_class = { class = "INTELLIGENT_TIERING", after_days = 0 }
  }

  agents = {
    number = 3
    type   = "m7g.large"
    roll   = { size = "128MiB", age = "5m" }
    volume = { size_gb = 200, throughput_mb_s = 250, final_snapshot = true }
  }
  server = {
    type   = "m7g.large"
    volume = { size_gb = 100, final_snapshot = true }
  }

  alarms = { emails = var.alarm_emails }
}

output "sluicegate" {
  description = "Everything about the pipeline."
  value       = module.sluicegate
}
