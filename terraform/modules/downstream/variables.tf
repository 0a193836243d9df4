variable "name" {
  description = "Name of the pipeline."
  type        = string
}

variable "subnet" {
  description = "Subnet of the server, with its zone."
  type        = object({ id = string, zone = string })
}

variable "security_group_id" {
  description = "Security group of the server."
  type        = string
}

variable "bucket" {
  description = "Bucket of the events."
  type        = object({ name = string, arn = string })
}

variable "prefix" {
  description = "What the keys of events begin with; nothing else may be read."
  type        = string
}

variable "kms_key_arn" {
  description = "KMS key of the bucket; null if it has none."
  type        = string
  default     = null
}

variable "secret_arn" {
  description = "Secret of the notices."
  type        = string
}

variable "secret_kms_key_arn" {
  description = "KMS key of the secret; null if it has none."
  type        = string
  default     = null
}

variable "pull_queue" {
  description = "SQS queue of your own from which the server pulls notices as well, such as one that another bucket or account fills, with its KMS key if it has one; none if null. It needs a redrive policy."
  type        = object({ arn = string, url = string, kms_key_arn = optional(string) })
  default     = null

  validation {
    condition     = var.pull_queue == null ? true : can(regex("^arn:[a-z-]+:sqs:", var.pull_queue.arn)) && can(regex("^https?://", var.pull_queue.url))
    error_message = "pull_queue.arn is not the ARN of a queue, or pull_queue.url not its http or https URL."
  }
}

variable "port" {
  description = "TCP port of notices and page."
  type        = number
  default     = 8090

  validation {
    condition     = var.port >= 1024 && var.port <= 65535
    error_message = "port is not between 1024 and 65535: the server runs without privileges."
  }
}

variable "listen_address" {
  description = "Address that the server listens on: 0.0.0.0, or [::] for IPv6 too."
  type        = string
  default     = "0.0.0.0"
}

variable "handler" {
  description = "Who gets the objects: `log`, `ndjson` for a file on the data volume, or `custom`: then `extra_config` holds the table `[handler]`."
  type        = string
  default     = "ndjson"

  validation {
    condition     = contains(["log", "ndjson", "custom"], var.handler)
    error_message = "handler is not log, ndjson or custom; custom takes any other from extra_config."
  }
}

variable "s3_endpoint" {
  description = "URL of an S3-compatible store instead of AWS."
  type        = string
  default     = null
}

variable "extra_config" {
  description = "Further TOML for the end of the server's configuration."
  type        = string
  default     = ""
}

variable "instance" {
  description = "The server's instance; see the module `instance`."
  type = object({
    type           = optional(string, "t4g.small")
    architecture   = optional(string, "arm64")
    ami_id         = optional(string)
    key_name       = optional(string)
    public_address = optional(bool, false)
    volume = optional(object({
      size_gb         = optional(number, 20)
      iops            = optional(number, 3000)
      throughput_mb_s = optional(number, 125)
      kms_key_arn     = optional(string)
      final_snapshot  = optional(bool, false)
    }), {})
  })
  default = {}
}

variable "artifacts" {
  description = "What instances install."
  type = object({
    bucket = string
    arn    = string
    files  = map(object({ key = string, sha256 = string }))
  })
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
