variable "region" {
  description = "Region of the state."
  type        = string
  default     = "eu-central-1"
}

variable "name" {
  description = "Prefix of every name."
  type        = string
  default     = "sluicegate"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name is not 3 to 20 lower-case letters, digits and hyphens."
  }
}

variable "repository" {
  description = "The repository whose workflow deploys, as owner/name."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", var.repository))
    error_message = "repository is not owner/name without wildcards: whoever it matches may deploy into this account."
  }
}

variable "environment" {
  description = "The GitHub environment that must be approved before anything is applied."
  type        = string
  default     = "production"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]+$", var.environment))
    error_message = "environment is not letters, digits, hyphens and underscores."
  }
}

variable "create_oidc_provider" {
  description = "Whether to make GitHub's identity provider; an account has at most one."
  type        = bool
  default     = true
}
