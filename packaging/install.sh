#!/bin/sh
# Installs one program as it stands on a server or in an image: the program under its installed
# name, its user, its folders, a configuration to begin with and, unless --no-systemd, its unit.
#
#   install.sh [--root DIR] [--no-systemd] agent|server PROGRAM
#
# Units are looked for in systemd/ beside this script, configurations in etc/. With --root DIR
# everything goes below DIR, as for an image. Doing it again changes nothing but the program and its
# unit: a configuration that is there stays as it is.
set -eu

root=
systemd=yes
while [ $# -gt 0 ]; do
  case $1 in
    --root) root=${2%/}; shift 2 ;;
    --no-systemd) systemd=no; shift ;;
    -*) echo "install.sh: there is no option $1" >&2; exit 64 ;;
    *) break ;;
  esac
done
if [ $# -ne 2 ]; then
  echo "usage: install.sh [--root DIR] [--no-systemd] agent|server PROGRAM" >&2
  exit 64
fi
kind=$1
program=$2
case $kind in
  agent | server) ;;
  *) echo "install.sh: $kind is neither agent nor server" >&2; exit 64 ;;
esac
name=sluicegate-$kind
here=$(dirname "$0")

# Numbers below 1000 are for the system; 870 and 871 are fixed, so that a volume that moves to
# another instance or image keeps its owner.
case $kind in agent) id=870 ;; server) id=871 ;; esac
passwd=$root/etc/passwd
group=$root/etc/group
if grep -s "^[^:]*:[^:]*:$id:" "$passwd" "$group" | grep -qv ":$name:\|^$name:"; then
  echo "install.sh: the number $id of $name belongs to somebody else here" >&2
  exit 65
fi
if ! grep -qs "^$name:" "$group"; then
  mkdir -p "$root/etc"
  echo "$name:x:$id:" >>"$group"
fi
if ! grep -qs "^$name:" "$passwd"; then
  echo "$name:x:$id:$id:Sluicegate $kind:/var/lib/sluicegate/$kind:/usr/sbin/nologin" >>"$passwd"
fi

install -d -m 0755 "$root/usr/bin" "$root/etc/sluicegate" "$root/var/lib/sluicegate"
install -d -m 0750 -o "$id" -g "$id" "$root/var/lib/sluicegate/$kind"
# Beside and then in place: a running program is not written over.
install -m 0755 "$program" "$root/usr/bin/.$name.new"
mv -f "$root/usr/bin/.$name.new" "$root/usr/bin/$name"

for file in "$kind.toml" "$kind.env"; do
  if [ -e "$here/etc/$file" ] && [ ! -e "$root/etc/sluicegate/$file" ]; then
    case $file in *.env) mode=0600 ;; *) mode=0644 ;; esac
    install -m "$mode" "$here/etc/$file" "$root/etc/sluicegate/$file"
  fi
done

if [ "$systemd" = yes ]; then
  install -d -m 0755 "$root/usr/lib/systemd/system"
  install -m 0644 "$here/systemd/$name.service" "$root/usr/lib/systemd/system/$name.service"
  if [ -d "$here/systemd/drop-ins" ]; then
    install -d -m 0755 "$root/usr/share/sluicegate/$kind"
    install -m 0644 "$here"/systemd/drop-ins/*.conf "$root/usr/share/sluicegate/$kind/"
  fi
fi
echo "installed $root/usr/bin/$name"
