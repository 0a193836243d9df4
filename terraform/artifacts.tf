# What instances install. They fetch it through the S3 gateway endpoint, so that they need no way to
# the internet, and check each file against the checksum in their user data.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  packaging = "${path.module}/../packaging"
  sources = merge(
    { for file in ["sluicegate-agent", "sluicegate-server"] : file => "${var.dist_dir}/${var.architecture}/${file}" },
    { for file in setunion([for pattern in ["install.sh", "systemd/*", "aws/*"] : fileset(local.packaging, pattern)]...) : file => "${local.packaging}/${file}" },
  )
  checksums = { for path, source in local.sources : path => filesha256(source) }

  artifacts = {
    bucket = aws_s3_bucket.artifacts.id
    arn    = aws_s3_bucket.artifacts.arn
    # A key that tells the content: an instance that starts while a new version is uploaded gets the old one.
    files = { for path, object in aws_s3_object.artifact : path => { key = object.key, sha256 = local.checksums[path] } }
  }
}

resource "aws_s3_bucket" "artifacts" {
  #checkov:skip=CKV_AWS_18: nobody but our instances reads it
  #checkov:skip=CKV_AWS_21: a key names the checksum of its content, so that nothing is ever replaced
  #checkov:skip=CKV_AWS_144: an apply fills it anew
  #checkov:skip=CKV_AWS_145: programs are no secret
  #checkov:skip=CKV2_AWS_61: a replacement instance needs its programs at any time
  #checkov:skip=CKV2_AWS_62: nothing listens here
  bucket        = "${var.name}-artifacts-${data.aws_caller_identity.current.account_id}-${data.aws_region.current.name}"
  force_destroy = true
  tags          = local.tags
}

resource "aws_s3_bucket_public_access_block" "artifacts" {
  bucket                  = aws_s3_bucket.artifacts.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

data "aws_iam_policy_document" "artifacts" {
  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.artifacts.arn, "${aws_s3_bucket.artifacts.arn}/*"]
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
}

resource "aws_s3_bucket_policy" "artifacts" {
  bucket     = aws_s3_bucket.artifacts.id
  policy     = data.aws_iam_policy_document.artifacts.json
  depends_on = [aws_s3_bucket_public_access_block.artifacts]
}

resource "aws_s3_object" "artifact" {
  #checkov:skip=CKV_AWS_186: programs are no secret
  for_each           = local.sources
  bucket             = aws_s3_bucket.artifacts.id
  key                = "${local.checksums[each.key]}/${each.key}"
  source             = each.value
  source_hash        = local.checksums[each.key]
  checksum_algorithm = "SHA256"
  tags               = local.tags
}
