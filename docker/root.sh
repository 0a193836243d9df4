#!/bin/sh
# Makes the root of each image below /roots, in the Debian stage of docker/Dockerfile.
#
#   root.sh agent|server|demo...
#
# A root holds a program, the libraries that it names, certificate authorities, and its user.
set -eu

# Libraries that a program names, and the loader itself.
libraries() {
  ldd "$1" | sed -n 's,^[^/]*\(/[^ ]*\).*,\1,p'
}

for kind in "$@"; do
  root=/roots/$kind
  mkdir -p "$root/etc/ssl/certs"
  case $kind in
    demo)
      program=sluicegate
      echo "sluicegate:x:872:" >"$root/etc/group"
      echo "sluicegate:x:872:872:Sluicegate:/var/lib/sluicegate/demo:/usr/sbin/nologin" >"$root/etc/passwd"
      install -D -m 0755 "/build/dist/$program" "$root/usr/bin/$program"
      install -d -m 0750 -o 872 -g 872 "$root/var/lib/sluicegate/demo"
      ;;
    *)
      program=sluicegate-$kind
      sh /build/install.sh --root "$root" --no-systemd "$kind" "/build/dist/$program"
      ;;
  esac
  libraries "/build/dist/$program" | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
  done
  # Names are looked up in /etc/hosts and in DNS, whatever the program was linked with.
  echo "hosts: files dns" >"$root/etc/nsswitch.conf"
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  # What a run writes beside its data has nowhere to go: the root is mounted read-only.
  find "$root" -xdev -type d -exec chmod go-w {} +
done
