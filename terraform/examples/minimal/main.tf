# The smallest pipeline: one agent, one server, one zone. Instances stand in a public subnet for what
# they ask of AWS; nothing comes in from outside. Producers use the agent's fixed private address.

terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }
}

variable "region" {
  description = "Region of everything."
  type        = string
  default     = "eu-central-1"
}

variable "architecture" {
  description = "What `cargo xtask package` built: x86_64, or arm64 with `--arch arm64`."
  type        = string
  default     = "x86_64"
}

provider "aws" {
  region = var.region
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

  dist_dir     = "${path.module}/../../../dist"
  architecture = var.architecture
  balancer     = "none"
  agents       = { roll = { age = "30s" } }
}

output "sluicegate" {
  description = "Everything about the pipeline."
  value       = module.sluicegate
}

output "try_it" {
  description = "Two lines to paste on a machine of the VPC."
  value       = module.sluicegate.try_it
}

output "open_page" {
  description = "The command that brings the server's page to this machine."
  value       = module.sluicegate.open_page
}
