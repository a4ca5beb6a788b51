import { holdDrive } from '@iothreads/backends';
import { IOThreadRuntime } from '@iothreads/iothread';
import { VhostUserBlkExport } from '@iothreads/vhost-user';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StorageDaemonProcess } from '../../daemon/storage-daemon-process.js';
import { ScratchDirectory } from '../../load/scratch-directory.js';
import { QUEUES } from './message-case.js';

const DISK_BYTES = 64 << 10;
/** Guest memory that is mapped is named after what it is a mapping of. */
const MAPPING = /memfd:guest-memory/g;

/** What the daemon logs of a guest as an error. */
const GUESTS_MISTAKE = 'its guest broke a ring';

/** Whoever serves a disk at a socket, and what can be seen of it from outside. */
export interface MessageHost {
  readonly path: string;
  /** Lines of its log that tell of its own mistakes, so far. */
  errors(): readonly string[];
  /** Descriptors that are open, and mappings of guest memory. */
  holdings(): { readonly fds: number; readonly mappings: number };
  residentBytes(): number;
  close(): Promise<void>;
}

function holdingsOf(pid: number | 'self'): ReturnType<MessageHost['holdings']> {
  return {
    fds: readdirSync(`/proc/${pid}/fd`).length,
    mappings: readFileSync(`/proc/${pid}/maps`, 'utf8').match(MAPPING)?.length ?? 0,
  };
}

/** An export in this process. */
export async function startExport(): Promise<MessageHost> {
  const directory = await ScratchDirectory.create(tmpdir(), 'iothreads-fuzz-');
  const path = join(directory.path, 'disk.sock');
  const runtime = new IOThreadRuntime();
  await runtime.addIOThread({ id: 'iothread0' });
  const drive = await holdDrive({ driver: 'memory', size: DISK_BYTES });
  const errors: string[] = [];
  const server = await VhostUserBlkExport.start(
    runtime,
    {
      id: 'disk',
      drive: drive.prepared,
      address: { type: 'unix', path },
      writable: true,
      iothreads: ['iothread0'],
      numQueues: QUEUES,
    },
    (level, message) => {
      if (level === 'error') errors.push(message);
    },
  );
  runtime.on('iothreadDied', (_, error) => errors.push(error.message));
  return {
    path,
    errors: () => errors,
    holdings: () => holdingsOf('self'),
    residentBytes: () => process.memoryUsage.rss(),
    close: async () => {
      await server.close();
      await runtime.close();
      await drive.close();
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** The storage daemon, in a process of its own. */
export async function startDaemon(): Promise<MessageHost> {
  const directory = await ScratchDirectory.create(tmpdir(), 'iothreads-fuzz-');
  const path = join(directory.path, 'disk.sock');
  const blockdev = `memory,node-name=disk,size=${DISK_BYTES}`;
  const server = `vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path=${path},writable=on,num-queues=${QUEUES}`;
  const pidfile = join(directory.path, 'pid');
  const args = ['--blockdev', blockdev, '--export', server];
  const daemon = await StorageDaemonProcess.start('ours', args, pidfile);
  return {
    path,
    errors: () => [
      ...(daemon.running ? [] : ['the daemon has ended']),
      ...daemon.told
        .split('\n')
        .filter((line) => line.includes(': error: ') && !line.includes(GUESTS_MISTAKE)),
    ],
    holdings: () => holdingsOf(daemon.pid),
    residentBytes: () => daemon.residentMib() * 2 ** 20,
    close: async () => {
      await daemon.stop();
      await directory[Symbol.asyncDispose]();
    },
  };
}
