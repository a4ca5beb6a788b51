// The system calls, on the kernel that runs here.
import {
  acceptUnix,
  addressOf,
  blockDeviceSizeBytes,
  clearEventfd,
  closeFd,
  connectUnix,
  createEventfd,
  createMemfd,
  createSocketPair,
  isListeningUnixSocket,
  LinuxError,
  listenUnix,
  lockedByOthers,
  lockShared,
  MemoryMap,
  NativeBuffer,
  punchHole,
  readAt,
  ReadableWatch,
  signalEventfd,
  syncData,
  UnixMessenger,
  unlock,
  viewOf,
  writeAt,
  zeroRange,
} from '@iothreads/linux';
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'iothreads-linux-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const codeOf = (call: () => unknown): string => {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(LinuxError);
    return (error as LinuxError).code;
  }
  return 'nothing';
};

function openScratch(byteLength: number): number {
  const path = join(directory, 'scratch');
  writeFileSync(path, new Uint8Array(byteLength).fill(7));
  return openSync(path, 'r+');
}

describe('memory', () => {
  test('two mappings of one memfd are the same memory, and outlive its descriptor', () => {
    const fd = createMemfd('test', 8192);
    const [one, two] = [new MemoryMap(fd, 8192), new MemoryMap(fd, 4096, 4096)];
    closeFd(fd);
    const bytes = new Uint8Array(viewOf(one.address, 8192));
    const tail = new Int32Array(viewOf(two.address, 4096));
    bytes[4096] = 5;
    expect(tail[0]).toBe(5);
    Atomics.store(tail, 1, 0x01020304);
    expect([...bytes.subarray(4100, 4104)]).toEqual([4, 3, 2, 1]);
    one.unmap();
    two.unmap();
    // A second time does nothing.
    one.unmap();
  });

  test('what can not be mapped is refused by name', () => {
    expect(codeOf(() => new MemoryMap(-1, 4096))).toBe('EBADF');
    const fd = createMemfd('test', 4096);
    expect(codeOf(() => new MemoryMap(fd, 4096, 1))).toBe('EINVAL');
    closeFd(fd);
  });

  test('the address of a buffer is where a view at that address shows the same bytes', () => {
    for (const buffer of [new ArrayBuffer(64), new SharedArrayBuffer(64)]) {
      const view = new Uint8Array(viewOf(addressOf(buffer), 64));
      new Uint8Array(buffer)[63] = 9;
      expect(view[63]).toBe(9);
    }
  });
});

describe('eventfd', () => {
  test('wakes the event loop until it is cleared', async () => {
    const fd = createEventfd();
    let calls = 0;
    await new Promise<void>((resolve) => {
      const watch = new ReadableWatch(fd, () => {
        // Level-triggered: it comes again as long as nobody reads.
        if (++calls < 3) return;
        clearEventfd(fd);
        setImmediate(() => {
          watch.close();
          resolve();
        });
      });
      signalEventfd(fd);
      signalEventfd(fd);
    });
    expect(calls).toBe(3);
    closeFd(fd);
  });

  test('a thread that ends with watches open ends alone', () => {
    const fixture = fileURLToPath(new URL('./fixtures/ending-workers.mjs', import.meta.url));
    expect(execFileSync(process.execPath, [fixture], { encoding: 'utf8', timeout: 60_000 })).toBe('alive\n');
  });

  test('clearing one that was not signalled does not wait', () => {
    const fd = createEventfd();
    clearEventfd(fd);
    closeFd(fd);
  });
});

describe('Unix sockets', () => {
  const connected = (): [number, number] => {
    const path = join(directory, `socket-${Math.random()}`);
    const listening = listenUnix(path);
    expect(isListeningUnixSocket(listening)).toBe(true);
    expect(acceptUnix(listening)).toBe(-1);
    const client = connectUnix(path);
    const server = acceptUnix(listening);
    expect(isListeningUnixSocket(server)).toBe(false);
    closeFd(listening);
    return [client, server];
  };

  test('descriptors arrive with the bytes', () => {
    const [client, server] = connected();
    const memory = createMemfd('passed', 4096);
    const from = new UnixMessenger(client, 100, 8);
    const to = new UnixMessenger(server, 100, 8);
    expect(to.receive()).toEqual({ byteLength: -1, fds: [], truncated: false });
    expect(from.send(Uint8Array.of(1, 2, 3), [memory, memory])).toBe(3);
    const first = to.receive(2);
    expect(first.byteLength).toBe(2);
    expect([...to.bytes.subarray(0, 2)]).toEqual([1, 2]);
    expect(first.fds).toHaveLength(2);
    expect(to.receive()).toEqual({ byteLength: 1, fds: [], truncated: false });
    const map = new MemoryMap(first.fds[0]!, 4096);
    const original = new MemoryMap(memory, 4096);
    new Uint8Array(viewOf(map.address, 4096))[0] = 42;
    expect(new Uint8Array(viewOf(original.address, 4096))[0]).toBe(42);
    map.unmap();
    original.unmap();
    for (const fd of [memory, ...first.fds, client]) closeFd(fd);
    expect(to.receive().byteLength).toBe(0);
    expect(codeOf(() => to.send(Uint8Array.of(1)))).toBe('EPIPE');
    closeFd(server);
  });

  test('more descriptors than there is room for are not received, and that is told', () => {
    const [client, server] = connected();
    const event = createEventfd();
    new UnixMessenger(client, 10, 8).send(Uint8Array.of(1), [event, event, event, event, event]);
    const received = new UnixMessenger(server, 10, 2).receive();
    expect(received.fds).toHaveLength(2);
    expect(received.truncated).toBe(true);
    for (const fd of [event, ...received.fds, client, server]) closeFd(fd);
  });

  test('a path that is too long, taken or missing is refused by name', () => {
    expect(codeOf(() => listenUnix(join(directory, 'x'.repeat(120))))).toBe('ENAMETOOLONG');
    expect(codeOf(() => listenUnix(directory))).toBe('EADDRINUSE');
    expect(codeOf(() => connectUnix(join(directory, 'nobody')))).toBe('ENOENT');
    const file = openScratch(1);
    expect(isListeningUnixSocket(file)).toBe(false);
    closeSync(file);
  });
});

describe('files', () => {
  test('reading and writing at positions, and errors by name', () => {
    const fd = openScratch(8192);
    const memory = new NativeBuffer(4096);
    expect(readAt(fd, memory.address, 4096, 6144)).toBe(2048);
    expect(memory.bytes[2047]).toBe(7);
    expect(memory.bytes[2048]).toBe(0);
    memory.bytes.fill(8);
    expect(writeAt(fd, memory.address, 512, 512)).toBe(512);
    syncData(fd);
    const bytes = new Uint8Array(1024);
    readSync(fd, bytes, 0, 1024, 0);
    expect([bytes[511], bytes[512], bytes[1023]]).toEqual([7, 8, 8]);
    expect(codeOf(() => readAt(fd, 4096, 512, 0))).toBe('EFAULT');
    expect(codeOf(() => readAt(-1, memory.address, 512, 0))).toBe('EBADF');
    closeSync(fd);
  });

  test('a punched hole gives space back, a zeroed range keeps it; both read as zeroes', () => {
    const fd = openScratch(1 << 20);
    const before = fstatSync(fd).blocks;
    zeroRange(fd, 0, 65536);
    punchHole(fd, 65536, 1 << 19);
    expect(fstatSync(fd).blocks).toBeLessThanOrEqual(before - (1 << 19) / 512);
    expect(fstatSync(fd).size).toBe(1 << 20);
    const bytes = new Uint8Array(1 << 20);
    readSync(fd, bytes, 0, bytes.length, 0);
    const end = 65536 + (1 << 19);
    expect(bytes.subarray(0, end).every((byte) => byte === 0)).toBe(true);
    expect(bytes[end]).toBe(7);
    closeSync(fd);
  });

  test('locks belong to the open file: others see them, duplicates share them', () => {
    const fd = openScratch(10);
    const other = openSync(join(directory, 'scratch'), 'r+');
    expect(lockShared(fd, 100, 1)).toBe(true);
    expect(lockShared(other, 100, 1)).toBe(true);
    unlock(other, 100, 1);
    expect(lockedByOthers(other, 100, 1)).toBe(true);
    expect(lockedByOthers(other, 101, 1)).toBe(false);
    expect(lockedByOthers(fd, 100, 1)).toBe(false);
    const [here, there] = createSocketPair();
    new UnixMessenger(here, 1, 1).send(Uint8Array.of(0), [fd]);
    const twin = new UnixMessenger(there, 1, 1).receive().fds[0]!;
    closeSync(fd);
    expect(lockedByOthers(other, 100, 1)).toBe(true);
    for (const each of [twin, here, there]) closeFd(each);
    expect(lockedByOthers(other, 100, 1)).toBe(false);
    closeSync(other);
  });

  test('only block devices have the size of one', () => {
    const fd = openScratch(10);
    expect(codeOf(() => blockDeviceSizeBytes(fd))).toBe('ENOTTY');
    closeSync(fd);
  });
});
