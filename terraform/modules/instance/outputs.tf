output "address" {
  description = "The slot's fixed private address."
  value       = aws_network_interface.fixed.private_ip
}

output "volume_id" {
  description = "The slot's data volume."
  value       = aws_ebs_volume.data.id
}

output "autoscaling_group" {
  description = "The group that keeps one instance in the slot."
  value       = aws_autoscaling_group.this.name
}

output "launch_template_version" {
  description = "Counts up with each new program, configuration or image."
  value       = aws_launch_template.this.latest_version
}

output "slot" {
  description = "The slot's name, as in the metrics."
  value       = var.slot
}

output "config" {
  description = "The program's configuration as the instance gets it."
  value       = var.config
}

output "user_data" {
  description = "The script with which an instance installs itself."
  value       = local.user_data
}

output "role_arn" {
  description = "The instance's role."
  value       = aws_iam_role.this.arn
}
