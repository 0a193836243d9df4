output "function_name" {
  description = "The function."
  value       = aws_lambda_function.this.function_name
}

output "log_group" {
  description = "Its log."
  value       = aws_cloudwatch_log_group.this.name
}

output "secret_arn" {
  description = "Where the secret lies; never the secret itself."
  value       = aws_secretsmanager_secret.notify.arn
  depends_on  = [aws_secretsmanager_secret_version.notify]
}

output "failure_queue" {
  description = "The queue of what could not be relayed: name and URL."
  value       = { name = aws_sqs_queue.failures.name, url = aws_sqs_queue.failures.url }
}

output "notice_queue" {
  description = "With `sqs`, the queue between the bucket and the function: name and URL."
  value       = one([for queue in aws_sqs_queue.notices : { name = queue.name, url = queue.url }])
}

output "ready" {
  description = "Known once objects are announced."
  value       = true
  depends_on  = [aws_s3_bucket_notification.this, aws_cloudwatch_event_target.this, aws_lambda_event_source_mapping.notices]
}

output "switch_on_eventbridge" {
  description = "For a bucket that exists already: what makes it send its events to EventBridge, keeping what it notifies now."
  value = var.bucket.made ? null : join(" && ", [
    "aws s3api get-bucket-notification-configuration --bucket ${var.bucket.name} --output json > notification.json",
    "python3 -c 'import json; c = json.loads(open(\"notification.json\").read() or \"{}\"); c[\"EventBridgeConfiguration\"] = {}; json.dump(c, open(\"notification.json\", \"w\"))'",
    "aws s3api put-bucket-notification-configuration --bucket ${var.bucket.name} --notification-configuration file://notification.json",
  ])
}
