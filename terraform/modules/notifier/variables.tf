variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "package" {
  description = "The function's zip, as `cargo xtask package` makes it."
  type        = string

  validation {
    condition     = fileexists(var.package)
    error_message = "package does not exist: `cargo xtask package` makes it (with `--arch arm64` for Graviton)."
  }
}

variable "architecture" {
  description = "What the package was built for: arm64 or x86_64."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture is not arm64 or x86_64."
  }
}

variable "bucket" {
  description = "The bucket whose objects are announced, and whether its notification is ours to make."
  type        = object({ name = string, arn = string, made = bool })
}

variable "prefix" {
  description = "Only keys that begin so are announced. It guards against recursion: what a consumer writes elsewhere in the bucket is not announced."
  type        = string

  validation {
    condition     = length(var.prefix) > 0
    error_message = "prefix is empty: then every object of the bucket would be announced, what consumers write back included."
  }
}

variable "suffix" {
  description = "Only keys that end so are announced; all if empty."
  type        = string
  default     = ""
}

variable "delivery" {
  description = "How S3 reaches the function: `direct`, `sqs` (a queue between, for large backlogs) or `eventbridge` (the only way for a bucket that others notify from)."
  type        = string
  default     = "direct"

  validation {
    condition     = contains(["direct", "sqs", "eventbridge"], var.delivery)
    error_message = "delivery is not direct, sqs or eventbridge."
  }
  validation {
    condition     = var.bucket.made || var.delivery == "eventbridge"
    error_message = "delivery must be eventbridge for a bucket that exists already: a notification made here would replace everybody else's."
  }
}

variable "notify_url" {
  description = "Where notices are posted."
  type        = string

  validation {
    condition     = can(regex("^https?://[^@]+$", var.notify_url))
    error_message = "notify_url is not an http or https URL without a user name."
  }
}

variable "secret" {
  description = "What notices are signed with: at least 16 bytes, best the ephemeral `aws_secretsmanager_random_password` as in the examples. It goes to Secrets Manager alone, when `secret_version` is raised."
  type        = string
  ephemeral   = true
  sensitive   = true
  default     = null
}

variable "secret_version" {
  description = "Raise it by one to write `secret` anew. Null writes nothing: put a secret there yourself before the first event."
  type        = number
  default     = null

  validation {
    condition     = var.secret_version == null ? true : var.secret_version >= 1 && floor(var.secret_version) == var.secret_version
    error_message = "secret_version is not a whole number from 1 on."
  }
}

variable "secret_recovery_days" {
  description = "Days during which a deleted secret can be brought back; 0 deletes at once, so that its name is free again."
  type        = number
  default     = 7

  validation {
    condition     = var.secret_recovery_days == 0 || (var.secret_recovery_days >= 7 && var.secret_recovery_days <= 30)
    error_message = "secret_recovery_days is not 0 or 7 to 30."
  }
}

variable "subnet_ids" {
  description = "Subnets of the function."
  type        = list(string)
}

variable "security_group_id" {
  description = "Security group of the function."
  type        = string
}

variable "memory_mb" {
  description = "Memory of the function, which also decides its share of a CPU."
  type        = number
  default     = 128

  validation {
    condition     = var.memory_mb >= 128 && var.memory_mb <= 10240
    error_message = "memory_mb is not between 128 and 10240."
  }
}

variable "timeout_s" {
  description = "Longest invocation, in seconds. The function gives up before it and says why."
  type        = number
  default     = 60

  validation {
    condition     = var.timeout_s >= 3 && var.timeout_s <= 900
    error_message = "timeout_s is not between 3 and 900."
  }
}

variable "reserved_concurrency" {
  description = "Invocations at a time, kept for this function; -1 shares the account's."
  type        = number
  default     = -1

  validation {
    condition     = var.reserved_concurrency >= -1 && var.reserved_concurrency != 0
    error_message = "reserved_concurrency is not -1 or at least 1: 0 would switch the function off."
  }
}

variable "retries" {
  description = "How often Lambda tries a failed direct invocation again, 0 to 2."
  type        = number
  default     = 2

  validation {
    condition     = contains([0, 1, 2], var.retries)
    error_message = "retries is not 0, 1 or 2, which is what Lambda knows."
  }
}

variable "max_event_age_s" {
  description = "How long Lambda keeps an event that it could not deliver, in seconds."
  type        = number
  default     = 21600

  validation {
    condition     = var.max_event_age_s >= 60 && var.max_event_age_s <= 21600
    error_message = "max_event_age_s is not between 60 and 21600."
  }
}

variable "queue" {
  description = "With `sqs`: notices a batch, how often a message is tried before it goes to the failure queue, and invocations at a time."
  type = object({
    batch_size  = optional(number, 10)
    max_receive = optional(number, 5)
    concurrency = optional(number, 10)
  })
  default = {}

  validation {
    condition     = var.queue.batch_size >= 1 && var.queue.batch_size <= 10
    error_message = "queue.batch_size is not between 1 and 10."
  }
  validation {
    condition     = var.queue.max_receive >= 1 && var.queue.max_receive <= 1000
    error_message = "queue.max_receive is not between 1 and 1000."
  }
  validation {
    condition     = var.queue.concurrency >= 2 && var.queue.concurrency <= 1000
    error_message = "queue.concurrency is not between 2 and 1000, which is what Lambda knows."
  }
}

variable "log_retention_days" {
  description = "Days that the function's log is kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days is not one of the periods that CloudWatch knows, such as 7, 30 or 365."
  }
}

variable "kms_key_arn" {
  description = "KMS key of queues, secret and log; the services' own keys if null."
  type        = string
  default     = null
}

variable "environment" {
  description = "Further variables of the function, such as SLUICEGATE_NOTIFY_TIMEOUT; they win over ours."
  type        = map(string)
  default     = {}
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
