# Once an account: where the state lies, and the two roles of deploy.yml. Its own state stays on the
# machine that ran it; nothing in it is secret.

provider "aws" {
  region = var.region
  default_tags { tags = { Project = "sluicegate" } }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  issuer    = "token.actions.githubusercontent.com"
  provider  = var.create_oidc_provider ? aws_iam_openid_connect_provider.github[0].arn : "arn:${local.partition}:iam::${local.account}:oidc-provider/${local.issuer}"
}

# === the state

resource "aws_s3_bucket" "state" {
  #checkov:skip=CKV_AWS_18: CloudTrail data events are the better record
  #checkov:skip=CKV_AWS_144: one region's state is of no use in another
  #checkov:skip=CKV_AWS_145: the state holds no secret; S3's own key costs nothing
  #checkov:skip=CKV2_AWS_62: nothing listens here
  bucket = "${var.name}-state-${local.account}-${var.region}"
  lifecycle { prevent_destroy = true }
}

resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.id
  versioning_configuration { status = "Enabled" }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "state" {
  bucket = aws_s3_bucket.state.id
  rule {
    apply_server_side_encryption_by_default { sse_algorithm = "AES256" }
  }
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket                  = aws_s3_bucket.state.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "state" {
  bucket = aws_s3_bucket.state.id
  rule {
    id     = "drop-old-versions"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration { noncurrent_days = 90 }
    abort_incomplete_multipart_upload { days_after_initiation = 7 }
  }
  depends_on = [aws_s3_bucket_versioning.state]
}

data "aws_iam_policy_document" "state" {
  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"]
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

resource "aws_s3_bucket_policy" "state" {
  bucket     = aws_s3_bucket.state.id
  policy     = data.aws_iam_policy_document.state.json
  depends_on = [aws_s3_bucket_public_access_block.state]
}

# === who may deploy

resource "aws_iam_openid_connect_provider" "github" {
  count          = var.create_oidc_provider ? 1 : 0
  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

# Pinned on repository and, to apply, on the environment: the token of another branch, fork or
# repository is another subject.
data "aws_iam_policy_document" "trust" {
  for_each = {
    plan  = "repo:${var.repository}:pull_request"
    apply = "repo:${var.repository}:environment:${var.environment}"
  }
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [local.provider]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = [each.value]
    }
  }
}

resource "aws_iam_role" "plan" {
  name                 = "${var.name}-plan"
  description          = "Plans pull requests of ${var.repository}: reads, changes nothing"
  assume_role_policy   = data.aws_iam_policy_document.trust["plan"].json
  max_session_duration = 3600
}

resource "aws_iam_role" "apply" {
  name                 = "${var.name}-apply"
  description          = "Applies approved changes of ${var.repository} to ${var.environment}"
  assume_role_policy   = data.aws_iam_policy_document.trust["apply"].json
  max_session_duration = 3600
}

data "aws_iam_policy_document" "state_read" {
  statement {
    sid       = "FindState"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.state.arn]
  }
  statement {
    sid       = "ReadState"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.state.arn}/*"]
  }
  # A plan of a pull request sees what there is, and not one event.
  statement {
    sid           = "ReadNoEvents"
    effect        = "Deny"
    actions       = ["s3:GetObject", "s3:GetObjectVersion", "secretsmanager:GetSecretValue"]
    not_resources = ["${aws_s3_bucket.state.arn}/*", "arn:${local.partition}:s3:::${var.name}*-artifacts-*/*"]
  }
}

resource "aws_iam_role_policy" "plan" {
  name   = "state"
  role   = aws_iam_role.plan.id
  policy = data.aws_iam_policy_document.state_read.json
}

resource "aws_iam_role_policy_attachment" "plan" {
  role       = aws_iam_role.plan.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/ReadOnlyAccess"
}

data "aws_iam_policy_document" "apply" {
  #checkov:skip=CKV_AWS_107: it makes the secret; the trust policy says who it is
  #checkov:skip=CKV_AWS_108: the same
  #checkov:skip=CKV_AWS_110: whoever may make roles may make one that may do more; the environment's approval is the guard
  #checkov:skip=CKV_AWS_109: it makes roles, below one path only
  #checkov:skip=CKV_AWS_111: it makes the pipeline; what it may not do is denied below
  #checkov:skip=CKV_AWS_356: most of these services know no resource before it is made
  statement {
    sid       = "State"
    actions   = ["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    resources = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"]
  }
  statement {
    sid = "Pipeline"
    actions = [
      "autoscaling:*", "cloudwatch:*", "ec2:*", "elasticloadbalancing:*", "events:*", "kms:*", "lambda:*",
      "logs:*", "secretsmanager:*", "sns:*", "sqs:*", "ssm:GetParameter", "ssm:GetParameters",
    ]
    resources = ["*"]
  }
  statement {
    sid       = "Buckets"
    actions   = ["s3:*"]
    resources = ["arn:${local.partition}:s3:::${var.name}*"]
  }
  statement {
    sid = "Roles"
    actions = [
      "iam:AddRoleToInstanceProfile", "iam:AttachRolePolicy", "iam:CreateInstanceProfile", "iam:CreateRole",
      "iam:DeleteInstanceProfile", "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:DetachRolePolicy", "iam:Get*",
      "iam:List*", "iam:PassRole", "iam:PutRolePolicy", "iam:RemoveRoleFromInstanceProfile", "iam:TagInstanceProfile",
      "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy",
    ]
    resources = [
      "arn:${local.partition}:iam::${local.account}:role/sluicegate/*",
      "arn:${local.partition}:iam::${local.account}:instance-profile/sluicegate/*",
    ]
  }
  # The services make their own roles on first use.
  statement {
    sid       = "ServiceRoles"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["arn:${local.partition}:iam::${local.account}:role/aws-service-role/*"]
  }
}

resource "aws_iam_role_policy" "apply" {
  name   = "deploy"
  role   = aws_iam_role.apply.id
  policy = data.aws_iam_policy_document.apply.json
}
