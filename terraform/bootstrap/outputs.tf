output "backend" {
  description = "Lines for the `terraform` block of what is deployed."
  value       = <<-LINES
    backend "s3" {
      bucket       = "${aws_s3_bucket.state.id}"
      key          = "sluicegate/${var.environment}.tfstate"
      region       = "${var.region}"
      use_lockfile = true
    }
  LINES
}

output "plan_role_arn" {
  description = "Role of the plan job of deploy.yml."
  value       = aws_iam_role.plan.arn
}

output "apply_role_arn" {
  description = "Role of the apply job of deploy.yml."
  value       = aws_iam_role.apply.arn
}
