/** The line behind a script's last. */
export const END_OF_SCRIPT = '#end';

/**
 * The guest's first process. It talks to the host through its second serial port, where no kernel message gets between:
 * a line `RESULT name value` tells, a line `ASK name` waits for the host's answer. It asks for one script after the other.
 */
export const GUEST_INIT = `#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
exec </dev/null >/dev/ttyS0 2>&1
stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
while read -r module; do insmod $module; done </modules/order
while :; do
  cat /words >/script
  echo "ASK script" >&3
  while IFS= read -r line <&3 && [ "$line" != "${END_OF_SCRIPT}" ]; do echo "$line"; done >>/script
  sh -eu /script
  echo "RESULT exit $?" >&3
done
`;

/** The words that scripts are written in. */
export const GUEST_WORDS = `
result() { echo "RESULT $1 $2" >&3; }
ask() { echo "ASK $1" >&3; read -r answer <&3; }
sum() { sha256sum "$@" | cut -d ' ' -f 1; }
# What the kernel knows about a disk: \`disk vda size\`, \`disk vda queue/write_cache\`.
disk() { cat "/sys/block/$1/$2"; }
# Forgets what has been read: the next read is the disk's.
forget() { sync; echo 3 >/proc/sys/vm/drop_caches; }

`;
