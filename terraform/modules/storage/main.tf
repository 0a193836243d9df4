# The bucket of the events. A bucket that exists already is only named, never touched.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  bucket = var.create_bucket ? aws_s3_bucket.this[0].id : var.bucket_name
  arn    = "arn:${data.aws_partition.current.partition}:s3:::${local.bucket}"
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18: access logs need a bucket of their own; CloudTrail data events are the better record
  #checkov:skip=CKV_AWS_144: copying to another region doubles the bill; it is the user's choice
  #checkov:skip=CKV_AWS_145: kms_key_arn chooses; S3's own key costs nothing
  #checkov:skip=CKV_AWS_21: versioning chooses; it is Enabled unless told otherwise
  #checkov:skip=CKV2_AWS_62: the notifier module makes the notification
  count         = var.create_bucket ? 1 : 0
  bucket        = coalesce(var.bucket_name, "${var.name}-events-${data.aws_caller_identity.current.account_id}-${data.aws_region.current.name}")
  force_destroy = var.force_destroy
  tags          = var.tags
}

resource "aws_s3_bucket_public_access_block" "this" {
  count                   = var.create_bucket ? 1 : 0
  bucket                  = aws_s3_bucket.this[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  count  = var.create_bucket ? 1 : 0
  bucket = aws_s3_bucket.this[0].id
  rule { object_ownership = "BucketOwnerEnforced" }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  count  = var.create_bucket ? 1 : 0
  bucket = aws_s3_bucket.this[0].id
  rule {
    # A bucket key asks KMS once in a while instead of once an object.
    bucket_key_enabled = var.kms_key_arn != null
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_versioning" "this" {
  count  = var.create_bucket && var.versioning != "Disabled" ? 1 : 0
  bucket = aws_s3_bucket.this[0].id
  versioning_configuration { status = var.versioning }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  #checkov:skip=CKV_AWS_300: the first rule does so; the check reads no `filter {}`
  count  = var.create_bucket ? 1 : 0
  bucket = aws_s3_bucket.this[0].id

  rule {
    id     = "drop-abandoned-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload { days_after_initiation = var.abort_multipart_days }
  }

  dynamic "rule" {
    for_each = var.versioning == "Disabled" ? [] : [var.noncurrent_days]
    content {
      id     = "drop-old-versions"
      status = "Enabled"
      filter {}
      noncurrent_version_expiration { noncurrent_days = rule.value }
    }
  }

  dynamic "rule" {
    for_each = var.expire_days == null ? [] : [var.expire_days]
    content {
      id     = "expire-events"
      status = "Enabled"
      filter { prefix = var.prefix }
      expiration { days = rule.value }
    }
  }

  dynamic "rule" {
    for_each = var.storage_class == null ? [] : [var.storage_class]
    content {
      id     = "move-events"
      status = "Enabled"
      filter { prefix = var.prefix }
      transition {
        days          = rule.value.after_days
        storage_class = rule.value.class
      }
    }
  }

  # Lifecycle rules speak of versions, so versioning stands before them.
  depends_on = [aws_s3_bucket_versioning.this]
}

data "aws_iam_policy_document" "bucket" {
  count = var.create_bucket ? 1 : 0

  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [local.arn, "${local.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  # An object that exists is never replaced. CreateMultipartUpload and UploadPart are s3:PutObject too
  # and cannot carry If-None-Match; s3:ObjectCreationOperation is false for them and true for PutObject,
  # CopyObject and CompleteMultipartUpload, which make an object. CopyObject cannot carry the header
  # everywhere, so that it is denied in effect: nobody copies into the prefix.
  dynamic "statement" {
    for_each = var.agent_owns_prefix ? [var.prefix] : []
    content {
      sid       = "OnlyNewObjects"
      effect    = "Deny"
      actions   = ["s3:PutObject"]
      resources = ["${local.arn}/${statement.value}*"]
      principals {
        type        = "*"
        identifiers = ["*"]
      }
      condition {
        test     = "Null"
        variable = "s3:if-none-match"
        values   = ["true"]
      }
      condition {
        test     = "Bool"
        variable = "s3:ObjectCreationOperation"
        values   = ["true"]
      }
    }
  }

  # If an object went away within the retry horizon, its agent could store it a second time.
  dynamic "statement" {
    for_each = var.agent_owns_prefix ? [var.prefix] : []
    content {
      sid       = "NoDeletions"
      effect    = "Deny"
      actions   = ["s3:DeleteObject", "s3:DeleteObjectVersion"]
      resources = ["${local.arn}/${statement.value}*", "${local.arn}/${var.control_prefix}*"]
      principals {
        type        = "*"
        identifiers = ["*"]
      }
      dynamic "condition" {
        for_each = length(var.delete_principals) > 0 ? [var.delete_principals] : []
        content {
          test     = "ArnNotLike"
          variable = "aws:PrincipalArn"
          values   = condition.value
        }
      }
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  count  = var.create_bucket ? 1 : 0
  bucket = aws_s3_bucket.this[0].id
  policy = data.aws_iam_policy_document.bucket[0].json
  # A policy on a bucket that is not closed yet could be refused as public.
  depends_on = [aws_s3_bucket_public_access_block.this]
}
