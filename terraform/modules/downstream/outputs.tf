output "address" {
  description = "The server's fixed private address."
  value       = module.slot.address
}

output "notify_url" {
  description = "Where notices are posted."
  value       = "http://${module.slot.address}:${var.port}/v1/notices"
}

output "page_url" {
  description = "The page, as the server itself sees it; it answers on loopback alone."
  value       = "http://127.0.0.1:${var.port}/"
}

output "slot" {
  description = "The server's slot: address, volume, group, configuration, user data."
  value       = module.slot
}

output "config" {
  description = "The server's configuration."
  value       = local.config
}
