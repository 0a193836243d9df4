variable "name" {
  description = "Name of the pipeline."
  type        = string
}

variable "number" {
  description = "How many agents, each with its own volume. They are spread over the subnets."
  type        = number
  default     = 1

  validation {
    condition     = var.number >= 1 && var.number <= 20 && floor(var.number) == var.number
    error_message = "number is not between 1 and 20."
  }
}

variable "replacement" {
  description = "How the instances of several agents are replaced: `rolling`, one slot at a time, each only once the one before takes events again (needs `aws` where Terraform runs), or `at_once`."
  type        = string
  default     = "rolling"

  validation {
    condition     = contains(["rolling", "at_once"], var.replacement)
    error_message = "replacement is not rolling or at_once."
  }
}

variable "subnets" {
  description = "Subnets with their zones."
  type        = list(object({ id = string, zone = string }))
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "security_group_id" {
  description = "Security group of the agents."
  type        = string
}

variable "balancer" {
  description = "Where producers connect: `none`, `internal` or `public`, with the subnets and the security group of the balancer."
  type = object({
    kind              = string
    subnet_ids        = optional(list(string), [])
    security_group_id = optional(string)
    certificate_arn   = optional(string)
    domain_name       = optional(string)
    ipv6              = optional(bool, false)
  })
  default = { kind = "none" }

  validation {
    condition     = contains(["none", "internal", "public"], var.balancer.kind)
    error_message = "balancer.kind is not none, internal or public."
  }
  validation {
    condition     = var.balancer.kind != "public" || try(can(regex("^arn:[a-z-]+:acm:", var.balancer.certificate_arn)), false)
    error_message = "balancer.certificate_arn must be the ARN of a certificate where the balancer is public: events would cross the internet in clear."
  }
  validation {
    condition     = var.balancer.kind != "public" || var.token_version != null
    error_message = "token_version is null and balancer is public: agents that anybody can reach must ask for a token."
  }
}

variable "token" {
  description = "What producers say as `Authorization: Bearer`: at least 16 letters and digits; or several, as lines of NAME:TOKEN. It goes to Secrets Manager alone, when `token_version` is raised."
  type        = string
  ephemeral   = true
  sensitive   = true
  default     = null
}

variable "token_version" {
  description = "Raise it by one to write `token` anew. Null asks nobody for a token."
  type        = number
  default     = null

  validation {
    condition     = var.token_version == null ? true : var.token_version >= 1 && floor(var.token_version) == var.token_version
    error_message = "token_version is not a whole number from 1 on."
  }
}

variable "secret_recovery_days" {
  description = "Days during which the deleted token can be brought back; 0 deletes at once, so that its name is free again."
  type        = number
  default     = 7

  validation {
    condition     = var.secret_recovery_days == 0 || (var.secret_recovery_days >= 7 && var.secret_recovery_days <= 30)
    error_message = "secret_recovery_days is not 0 or 7 to 30."
  }
}

variable "bucket" {
  description = "Bucket of the events."
  type        = object({ name = string, arn = string })
}

variable "prefix" {
  description = "What the keys of events begin with."
  type        = string
}

variable "control_prefix" {
  description = "Where agents claim their channels."
  type        = string
}

variable "kms_key_arn" {
  description = "KMS key of the bucket and of the token; null if they have none."
  type        = string
  default     = null
}

variable "ports" {
  description = "TCP ports of the HTTP and netcat sources."
  type        = object({ http = number, netcat = number })
}

variable "sources" {
  description = "Ports of further sources, by a name for each: sources that `extra_config` brings, such as `{ syslog = { port = 5514, protocol = \"udp\" } }`. Protocols: tcp, udp or tcp_udp. The balancer passes them on; the module `network` opens them."
  type        = map(object({ port = number, protocol = optional(string, "tcp") }))
  default     = {}

  validation {
    condition     = alltrue([for name, source in var.sources : can(regex("^[a-z][a-z0-9-]{0,19}$", name)) && !contains(["http", "netcat"], name) && contains(["tcp", "udp", "tcp_udp"], source.protocol)])
    error_message = "sources has a name that is not 1 to 20 lower-case letters, digits and hyphens, or is that of a source that is there already (http, netcat), or a protocol that is not tcp, udp or tcp_udp."
  }
  validation {
    condition     = alltrue([for source in values(var.sources) : source.port >= 1024 && source.port <= 65535]) && length(distinct(concat([var.ports.http, var.ports.netcat, 8081], values(var.sources)[*].port))) == length(var.sources) + 3
    error_message = "sources has a port that is not between 1024 and 65535 (agents run without privileges), or that is taken: by another source, or by the admin address (8081)."
  }
  validation {
    condition     = var.balancer.kind != "public" || length(var.sources) == 0
    error_message = "sources are not public: only the HTTP source has TLS and tokens. Send to it, or use an internal balancer."
  }
}

variable "queues" {
  description = "SQS queues that sources of `extra_config` consume, with the KMS key of each that has its own."
  type        = list(object({ arn = string, kms_key_arn = optional(string) }))
  default     = []

  validation {
    condition     = alltrue([for queue in var.queues : can(regex("^arn:[a-z-]+:sqs:[a-z0-9-]+:[0-9]+:[A-Za-z0-9_.-]+$", queue.arn))])
    error_message = "queues holds an arn that is not that of an SQS queue, such as arn:aws:sqs:eu-central-1:111122223333:orders."
  }
}

variable "listen_address" {
  description = "Address that the sources listen on: 0.0.0.0, or [::] for IPv6 too."
  type        = string
  default     = "0.0.0.0"
}

variable "partition" {
  description = "Template of the part of the key between prefix and object name, such as dt=%Y-%m-%d; empty for none."
  type        = string
  default     = "dt=%Y-%m-%d"
}

variable "format" {
  description = "How events are laid into objects: ndjson (one valid JSON object a line, whatever they are), text (body and newline, as Flume does it), raw or json_lines."
  type        = string
  default     = "ndjson"

  validation {
    condition     = contains(["ndjson", "text", "raw", "json_lines"], var.format)
    error_message = "format is not ndjson, text, raw or json_lines."
  }
}

variable "codec" {
  description = "How objects are compressed: none, gzip or zstd."
  type        = string
  default     = "zstd"

  validation {
    condition     = contains(["none", "gzip", "zstd"], var.codec)
    error_message = "codec is not none, gzip or zstd."
  }
}

variable "storage_class" {
  description = "Storage class that objects are put into at once; S3 Standard if null. The bucket's lifecycle may move them later."
  type        = string
  default     = null

  validation {
    condition     = var.storage_class == null ? true : contains(["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"], var.storage_class)
    error_message = "storage_class is not STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING or GLACIER_IR; from the other classes nobody could read at once."
  }
}

variable "object_tags" {
  description = "Tags of every object, by which policies and lifecycle rules may choose."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(var.object_tags) <= 10 && alltrue([for name, value in var.object_tags : can(regex("^[A-Za-z0-9 +._:/@-]{1,128}$", name)) && !startswith(name, "aws:") && can(regex("^[A-Za-z0-9 +=._:/@-]{0,256}$", value))])
    error_message = "object_tags are not at most 10, with names of 1 to 128 and values of at most 256 letters, digits, spaces and +._:/@-."
  }
}

variable "roll" {
  description = "When an object is finished: its size as stored, and its age."
  type = object({
    size = optional(string, "64MiB")
    age  = optional(string, "5m")
  })
  default = {}

  validation {
    condition     = can(regex("^[0-9]+(B|KiB|MiB|GiB)$", var.roll.size)) && can(regex("^[0-9]+(ms|s|m|h|d)$", var.roll.age))
    error_message = "roll.size is not a size such as 64MiB, or roll.age not a duration such as 5m."
  }
}

variable "s3_endpoint" {
  description = "URL of an S3-compatible store instead of AWS."
  type        = string
  default     = null
}

variable "extra_config" {
  description = "Further TOML for the end of the agent's configuration, such as another sink."
  type        = string
  default     = ""
}

variable "instance" {
  description = "The instance of each agent; see the module `instance`."
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
