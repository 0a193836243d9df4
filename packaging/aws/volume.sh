#!/bin/bash
# Brings the data volume and the fixed network interface of this slot to this instance, and mounts
# the volume. A replacement waits here until the instance before it has let go of both: an EBS
# volume is attached to one instance at a time, so two agents never write into one channel.
#
# Reads /etc/sluicegate/instance.env: AWS_REGION, SLUICEGATE_VOLUME_ID, SLUICEGATE_INTERFACE_ID,
# SLUICEGATE_PROGRAM.
set -euo pipefail
set -a
# shellcheck source=/dev/null
. "${SLUICEGATE_INSTANCE_ENV:-/etc/sluicegate/instance.env}"
set +a
dev=${SLUICEGATE_DEV:-/dev}
data=/var/lib/sluicegate/$SLUICEGATE_PROGRAM
user=sluicegate-$SLUICEGATE_PROGRAM
patience=${SLUICEGATE_PATIENCE_S:-900}

metadata() {
  local token
  token=$(curl -sf --retry 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
  curl -sf --retry 5 -H "X-aws-ec2-metadata-token: $token" "http://169.254.169.254/latest/meta-data/$1"
}

# again WHAT COMMAND...: until it succeeds, for as long as the instance before us may take to end.
again() {
  local what=$1 until=$((SECONDS + patience))
  shift
  until "$@"; do
    if ((SECONDS >= until)); then
      echo "gave up after ${patience} s: $what" >&2
      return 1
    fi
    echo "waiting: $what"
    sleep "${SLUICEGATE_PAUSE_S:-5}"
  done
}

instance=$(metadata instance-id)

attached_to() { # a volume or an interface: the instance that has it, or None
  case $1 in
    vol-*) aws ec2 describe-volumes --volume-ids "$1" --query 'Volumes[0].Attachments[0].InstanceId' --output text ;;
    *) aws ec2 describe-network-interfaces --network-interface-ids "$1" --query 'NetworkInterfaces[0].Attachment.InstanceId' --output text ;;
  esac
}

attach_volume() {
  [ "$(attached_to "$SLUICEGATE_VOLUME_ID")" = "$instance" ] ||
    aws ec2 attach-volume --volume-id "$SLUICEGATE_VOLUME_ID" --instance-id "$instance" --device /dev/sdf >/dev/null
}

attach_interface() {
  [ "$(attached_to "$SLUICEGATE_INTERFACE_ID")" = "$instance" ] ||
    aws ec2 attach-network-interface --network-interface-id "$SLUICEGATE_INTERFACE_ID" --instance-id "$instance" --device-index 1 >/dev/null
}

again "the volume $SLUICEGATE_VOLUME_ID is let go" attach_volume
again "the interface $SLUICEGATE_INTERFACE_ID is let go" attach_interface

# The name of the device tells the volume's id, without its hyphen.
device=$dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${SLUICEGATE_VOLUME_ID/-/}
again "the device $device appears" test -e "$device"

# Only a volume that holds nothing at all is formatted. blkid ends with 2 where it finds nothing;
# any other failure must not be taken for an empty volume.
status=0
found=$(blkid -p -o value -s TYPE "$device") || status=$?
if ((status == 2)); then
  mkfs.ext4 -q -L "sluicegate" "$device"
elif ((status != 0)); then
  echo "cannot tell what $device holds (blkid ended with $status); not touching it" >&2
  exit 1
elif [ "$found" != ext4 ]; then
  echo "$device holds $found, not ext4; not touching it" >&2
  exit 1
fi

# In fstab, so that a reboot mounts it too; nofail, so that a lost volume leaves an instance that
# can be looked at. The service requires the mount.
line="$device $data ext4 defaults,noatime,nosuid,nodev,noexec,nofail,x-systemd.device-timeout=60 0 2"
grep -qxF "$line" /etc/fstab || echo "$line" >>/etc/fstab
mkdir -p "$data"
mountpoint -q "$data" || mount "$data"
# A volume that was enlarged.
resize2fs "$device" >/dev/null 2>&1 || true
chown "$user:$user" "$data"
chmod 0750 "$data"
echo "mounted $device on $data"
