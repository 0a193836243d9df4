variable "name" {
  description = "Name of the pipeline."
  type        = string
}

variable "slot" {
  description = "Name of this place in the pipeline, such as agent-0: instances come and go, the slot keeps its volume and its address."
  type        = string
}

variable "program" {
  description = "What runs here: agent or server."
  type        = string

  validation {
    condition     = contains(["agent", "server"], var.program)
    error_message = "program is not agent or server."
  }
}

variable "config" {
  description = "Content of the program's configuration file."
  type        = string
}

variable "metrics_url" {
  description = "Where the program's metrics are, on loopback."
  type        = string
}

variable "secret_arn" {
  description = "Secret whose current and previous version the program takes; none if null."
  type        = string
  default     = null
}

variable "artifacts" {
  description = "What instances install: the bucket, and key and checksum of each file by its path."
  type = object({
    bucket = string
    arn    = string
    files  = map(object({ key = string, sha256 = string }))
  })
}

variable "policy_json" {
  description = "What this program may do beside what every instance may."
  type        = string
}

variable "subnet" {
  description = "Subnet of the instance, with its zone: the volume cannot leave it."
  type        = object({ id = string, zone = string })
}

variable "security_group_id" {
  description = "Security group of the instance."
  type        = string
}

variable "public_address" {
  description = "Whether the instance gets a public address to reach AWS by; nothing may come in by it."
  type        = bool
  default     = false
}

variable "instance_type" {
  description = "Type of the instance; it must have the architecture of the programs."
  type        = string
  default     = "t4g.small"

  validation {
    condition     = can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", var.instance_type))
    error_message = "instance_type is not the name of a type, such as t4g.small."
  }
  validation {
    condition     = can(regex("^([a-z]+[0-9]+g[a-z]*|a1)\\.", var.instance_type)) == (var.architecture == "arm64")
    error_message = "instance_type does not have the architecture of the programs: Graviton types, such as t4g.small, are arm64, the others x86_64."
  }
}

variable "architecture" {
  description = "What the programs were built for: arm64 or x86_64."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture is not arm64 or x86_64."
  }
}

variable "ami_id" {
  description = "Image of your own, made from Amazon Linux 2023 or with aws, curl, blkid and systemd; programs that it holds already are not fetched. The newest Amazon Linux 2023 if null."
  type        = string
  default     = null

  validation {
    condition     = var.ami_id == null ? true : can(regex("^ami-[0-9a-f]+$", var.ami_id))
    error_message = "ami_id is not the id of an image, such as ami-0abc."
  }
}

variable "key_name" {
  description = "Key pair for SSH, which no rule lets in; SSM needs none."
  type        = string
  default     = null
}

variable "volume" {
  description = "The data volume (gp3): size, operations and throughput a second, its KMS key, and whether destroying keeps a snapshot."
  type = object({
    size_gb         = optional(number, 20)
    iops            = optional(number, 3000)
    throughput_mb_s = optional(number, 125)
    kms_key_arn     = optional(string)
    final_snapshot  = optional(bool, false)
  })
  default = {}

  validation {
    condition     = var.volume.size_gb >= 4 && var.volume.size_gb <= 16384
    error_message = "volume.size_gb is not between 4 and 16384."
  }
  validation {
    condition     = var.volume.iops >= 3000 && var.volume.iops <= 16000
    error_message = "volume.iops is not between 3000 and 16000, which is what gp3 knows."
  }
  validation {
    condition     = var.volume.throughput_mb_s >= 125 && var.volume.throughput_mb_s <= 1000
    error_message = "volume.throughput_mb_s is not between 125 and 1000, which is what gp3 knows."
  }
}

variable "refresh" {
  description = "Whether a new program, configuration or image replaces the instance at once; else somebody else starts the refresh of the group."
  type        = bool
  default     = true
}

variable "target_group_arns" {
  description = "Target groups of a load balancer that the instance joins."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
