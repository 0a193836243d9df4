output "bucket" {
  description = "The bucket of the events: its name, its ARN, and whether it was made here."
  value = {
    name = local.bucket
    arn  = local.arn
    made = var.create_bucket
  }
  # Whoever writes into the bucket waits until it is closed to everybody else.
  depends_on = [aws_s3_bucket_policy.this, aws_s3_bucket_public_access_block.this]
}

output "prefix" {
  description = "What the keys of events begin with."
  value       = var.prefix
}

output "control_prefix" {
  description = "Where agents claim their channels."
  value       = var.control_prefix
}
