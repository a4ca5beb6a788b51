import { IOThreadRuntime } from '@iothreads/iothread';
import { attachDisk, guestMemory } from '@iothreads/v86';
import { Guest, loadGuestKit, whyNoGuest } from '../v86-guest/index.js';
import { existsSync } from 'node:fs';
import { exitOnSignals } from './exit-on-signals.js';

const USAGE = `npm run demo:v86 -- DISK.IMG

Boots Debian's i386 kernel in v86, in this terminal, with DISK.IMG as /dev/vda, served by an iothread. If there is an ext4 on it, it is
mounted as /mnt. Leave the shell with exit.
`;
const CONSOLE = 0;
/** Nobody is in a hurry: the longest that a timer takes. */
const FOREVER_MS = 2 ** 31 - 1;
/** Longer than a guest in v86 takes between two requests: a sleeping iothread's wake-up would be most of a request. */
const POLL_MAX_NS = 1_000_000;

const SESSION = `
mount -t ext4 /dev/vda /mnt && cd /mnt || true
setsid -c sh -i </dev/ttyS0 >/dev/ttyS0 2>&1 || true
cd /
umount /mnt || true
`;

function connectTerminal(machine: Guest['machine']): void {
  const { stdin, stdout } = process;
  machine.add_listener('serial0-output-byte', (byte) => {
    stdout.write(Uint8Array.of(byte));
  });
  // The guest's terminal echoes, and knows what Ctrl-C means.
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on('data', (bytes: Buffer) => {
    machine.serial_send_bytes(CONSOLE, bytes);
  });
}

async function session(filename: string): Promise<void> {
  await using runtime = new IOThreadRuntime();
  await runtime.addIOThread({ id: 'iothread0', pollMaxNs: POLL_MAX_NS });
  process.stdout.write('Booting; this takes some ten seconds …\n');
  await using guest = await Guest.boot(loadGuestKit(), {
    deadlineMs: FOREVER_MS,
    attach: async (machine) => {
      const vda = await runtime.addDevice({
        id: 'vda',
        iothread: 'iothread0',
        drive: { driver: 'file', filename },
        memory: guestMemory(machine),
        completion: 'pull',
      });
      attachDisk(machine, vda);
    },
  });
  connectTerminal(guest.machine);
  await guest.run(SESSION);
  const [stats] = await runtime.queryBlockStats();
  await guest.powerOff();
  const { read, write } = stats!;
  process.stdout.write(`\niothread0 did ${read.operations} reads and ${write.operations} writes.\n`);
}

const [filename, ...rest] = process.argv.slice(2);
const why = whyNoGuest();
exitOnSignals();
if (filename === undefined || rest.length > 0 || filename === '--help') {
  process.stdout.write(USAGE);
} else if (why !== undefined) {
  process.stderr.write(`${why}\n`);
  process.exitCode = 1;
} else if (!existsSync(filename)) {
  process.stderr.write(
    `there is no ${filename}: truncate -s 64M ${filename} && mke2fs -q -t ext4 ${filename}\n`,
  );
  process.exitCode = 1;
} else {
  await session(filename);
  // What reads the terminal would wait for more.
  process.stdin.destroy();
}
