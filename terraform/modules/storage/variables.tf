variable "name" {
  description = "Prefix of the bucket's name where `bucket_name` is not given."
  type        = string
}

variable "create_bucket" {
  description = "Whether the bucket is made here. Nothing about a bucket that exists already is ever changed."
  type        = bool
  default     = true

  validation {
    condition     = var.create_bucket || var.bucket_name != null
    error_message = "create_bucket is false, so bucket_name must name the bucket."
  }
}

variable "bucket_name" {
  description = "The bucket; a name made of `name`, account and region if null."
  type        = string
  default     = null

  validation {
    condition     = var.bucket_name == null ? true : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "bucket_name is not 3 to 63 lower-case letters, digits, dots and hyphens."
  }
}

variable "prefix" {
  description = "What the keys of events begin with. Notifications are filtered by it."
  type        = string
  default     = "events/"

  validation {
    condition     = can(regex("^[A-Za-z0-9!_.*'()/-]*/$", var.prefix)) && !startswith(var.prefix, "/")
    error_message = "prefix must end with / and hold nothing that XML or a URL would change, such as events/: it is the filter of the notification."
  }
}

variable "control_prefix" {
  description = "Where agents claim their channels as their own; outside of `prefix`, so that no claim is notified."
  type        = string
  default     = "_sluicegate/"

  validation {
    condition     = can(regex("^[A-Za-z0-9!_.*'()/-]+/$", var.control_prefix)) && !startswith(var.control_prefix, var.prefix) && !startswith(var.prefix, var.control_prefix)
    error_message = "control_prefix must end with / and lie outside of prefix, else its objects would be notified as if they were events."
  }
}

variable "agent_owns_prefix" {
  description = "Whether agents alone write below `prefix`. Then every other way to make or delete an object there is denied: puts without If-None-Match, and deletions."
  type        = bool
  default     = true
}

variable "delete_principals" {
  description = "ARNs (with * if need be) of who may delete below `prefix` nevertheless."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.delete_principals : startswith(arn, "arn:")])
    error_message = "delete_principals holds what is not an ARN."
  }
}

variable "kms_key_arn" {
  description = "KMS key of the objects; S3's own key if null."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:[a-z-]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn is not the ARN of a KMS key."
  }
}

variable "versioning" {
  description = "`Enabled` keeps what somebody deletes or replaces, `Suspended` stops that, `Disabled` never began it."
  type        = string
  default     = "Enabled"

  validation {
    condition     = contains(["Enabled", "Suspended", "Disabled"], var.versioning)
    error_message = "versioning is not Enabled, Suspended or Disabled."
  }
}

variable "retry_horizon_days" {
  description = "How long an agent may try a put again. An object that goes away sooner could be stored a second time."
  type        = number
  default     = 7

  validation {
    condition     = var.retry_horizon_days >= 1 && floor(var.retry_horizon_days) == var.retry_horizon_days
    error_message = "retry_horizon_days is not a whole number of days from 1 on."
  }
}

variable "expire_days" {
  description = "Days after which S3 deletes events; never if null."
  type        = number
  default     = null

  validation {
    condition     = var.expire_days == null ? true : var.expire_days > var.retry_horizon_days && floor(var.expire_days) == var.expire_days
    error_message = "expire_days is not longer than retry_horizon_days: an object that expires while its agent may still try again would be stored twice."
  }
}

variable "noncurrent_days" {
  description = "Days after which S3 deletes versions that were deleted or replaced."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1
    error_message = "noncurrent_days is not at least 1."
  }
}

variable "abort_multipart_days" {
  description = "Days after which S3 drops uploads in parts that nobody completed: the second net below the agents' own clean-up."
  type        = number
  default     = 7

  validation {
    condition     = var.abort_multipart_days >= 1
    error_message = "abort_multipart_days is not at least 1."
  }
}

variable "storage_class" {
  description = "Storage class that events move to after some days; S3 Standard for good if null."
  type        = object({ class = string, after_days = number })
  default     = null

  validation {
    condition     = var.storage_class == null ? true : contains(["INTELLIGENT_TIERING", "STANDARD_IA", "ONEZONE_IA", "GLACIER_IR"], var.storage_class.class)
    error_message = "storage_class.class is not INTELLIGENT_TIERING, STANDARD_IA, ONEZONE_IA or GLACIER_IR; from the other classes nobody could read at once."
  }
  validation {
    condition     = var.storage_class == null ? true : var.storage_class.after_days >= (endswith(var.storage_class.class, "_IA") ? 30 : 0)
    error_message = "storage_class.after_days is less than the 30 days that S3 asks for before STANDARD_IA and ONEZONE_IA."
  }
}

variable "force_destroy" {
  description = "Whether `terraform destroy` may delete the bucket with all that is in it."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of the bucket."
  type        = map(string)
  default     = {}
}
