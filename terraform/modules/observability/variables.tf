variable "name" {
  description = "Name of the pipeline."
  type        = string
}

variable "alarm_emails" {
  description = "Addresses that alarms are sent to; each must confirm once."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+$", address))])
    error_message = "alarm_emails holds what is not an address."
  }
}

variable "alarm_topic_arns" {
  description = "SNS topics of your own that alarms go to as well."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.alarm_topic_arns : can(regex("^arn:[a-z-]+:sns:", arn))])
    error_message = "alarm_topic_arns holds what is not the ARN of an SNS topic."
  }
}

variable "kms_key_arn" {
  description = "KMS key of the topic; none if null. CloudWatch must be allowed to use it."
  type        = string
  default     = null
}

variable "function_name" {
  description = "The notifier."
  type        = string
}

variable "log_group" {
  description = "The notifier's log."
  type        = string
}

variable "failure_queue" {
  description = "Name of the queue of what could not be relayed."
  type        = string
}

variable "notice_queue" {
  description = "Name of the queue between bucket and notifier; null where there is none."
  type        = string
  default     = null
}

variable "agent_slots" {
  description = "Slots of the agents."
  type        = list(string)
}

variable "server_slot" {
  description = "Slot of the server."
  type        = string
  default     = "server"
}

variable "limits" {
  description = "When to sound: age in minutes of the oldest event that is not in the bucket, age of the oldest object that is not handled, used disk in per cent."
  type = object({
    unshipped_minutes = optional(number, 15)
    inbox_age_s       = optional(number, 900)
    disk_percent      = optional(number, 80)
  })
  default = {}

  validation {
    condition     = var.limits.unshipped_minutes >= 5 && var.limits.unshipped_minutes <= 1440
    error_message = "limits.unshipped_minutes is not between 5 and 1440."
  }
  validation {
    condition     = var.limits.disk_percent >= 10 && var.limits.disk_percent <= 99
    error_message = "limits.disk_percent is not between 10 and 99."
  }
  validation {
    condition     = var.limits.inbox_age_s >= 60
    error_message = "limits.inbox_age_s is not at least 60."
  }
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
