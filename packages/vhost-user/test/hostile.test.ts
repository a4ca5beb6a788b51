// What a front end that breaks the rules gets: an error where the protocol has one, otherwise a closed connection. The export goes on,
// and keeps nothing of what it was given.
import { createEventfd, createMemfd, createSocketPair, closeFd } from '@iothreads/linux';
import {
  encodeConfigAccess,
  encodeMemoryTable,
  encodeMessage,
  encodeSingleRegion,
  encodeU64,
  encodeVringAddress,
  encodeVringFd,
  encodeVringState,
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  type FrontEndRequests,
  HEADER_BYTES,
  MAX_PAYLOAD_BYTES,
  Request,
} from '@iothreads/vhost-user/front-end';
import fc from 'fast-check';
import { closeSync, openSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { closeRigs, ExportRig } from './support/export-rig.js';
import { guestMappings, openFds } from './support/open-fds.js';
import { expectBytes, pattern } from './support/pattern.js';
import { seed } from './support/seed.js';
import { until } from '../../../test/support/within.js';

let rig: ExportRig;
let fdsAtRest: number;
let mappingsAtRest: number;
/** Descriptors of the test's own. */
const own: number[] = [];

beforeAll(async () => {
  rig = await ExportRig.start();
});

afterAll(closeRigs);

beforeEach(async () => {
  await rig.renew({ numQueues: 2 });
  // Whatever is opened once and kept is open by now.
  await (await rig.connect()).close();
  await until('nobody is connected', () => !rig.server.connected);
  fdsAtRest = openFds();
  mappingsAtRest = guestMappings();
});

afterEach(() => {
  for (const fd of own.splice(0)) closeFd(fd);
});

const keep = (fd: number): number => {
  own.push(fd);
  return fd;
};
const eventfd = (): number => keep(createEventfd());
const memory = (byteLength = 65536): number => keep(createMemfd('guest-memory', byteLength));
const fds = (count: number): number[] => Array.from({ length: count }, eventfd);

const EMPTY = new Uint8Array();
const REGION = { guestAddress: 0, size: 65536, userAddress: 0x7000_0000, mmapOffset: 0 };
const PROTOCOL_FEATURES = 0x8629n;

async function expectServes(): Promise<void> {
  const frontEnd = await rig.connect();
  await frontEnd.queues[0]!.write(0, pattern(4096, 1));
  expectBytes(await frontEnd.queues[0]!.read(0, 4096), pattern(4096, 1));
  await frontEnd.close();
}

/** The connection has been closed, the export serves the next one, and nothing was kept. */
async function expectClosed(requests: FrontEndRequests): Promise<void> {
  expect(await requests.receive()).toBeUndefined();
  requests.close();
  await expectServes();
  for (const fd of own.splice(0)) closeFd(fd);
  await until('all descriptors are closed', () => openFds() === fdsAtRest);
  await until('all memory is unmapped', () => guestMappings() === mappingsAtRest);
}

/** A bare connection with REPLY_ACK and all the others negotiated, and memory if wanted. */
async function negotiated(withMemory = false): Promise<FrontEndRequests> {
  const requests = rig.connectBare();
  // Answered when it is this one's turn.
  await requests.ask(Request.GET_FEATURES);
  await requests.tell(Request.SET_PROTOCOL_FEATURES, encodeU64(PROTOCOL_FEATURES));
  requests.protocolFeatures = PROTOCOL_FEATURES;
  if (withMemory) await requests.tell(Request.SET_MEM_TABLE, encodeMemoryTable([REGION]), [memory()]);
  return requests;
}

interface Mistake {
  readonly request: number;
  readonly payload: Uint8Array;
  readonly fds?: () => number[];
  /** Of the line in the log. */
  readonly says: string;
}

const state = (index: number, num: number): Uint8Array => encodeVringState({ index, num });
const vringFd = (index: number, hasFd: boolean): Uint8Array => encodeVringFd({ index, hasFd });
const region = (changes: Partial<typeof REGION>): Uint8Array => encodeSingleRegion({ ...REGION, ...changes });
const at = (descriptorTable: number, availRing = 0x7000_4000, usedRing = 0x7000_8000): Uint8Array =>
  encodeVringAddress({ index: 0, descriptorTable, availRing, usedRing });
const raw = (payload: Uint8Array, offset: number, value: bigint): Uint8Array => {
  new DataView(payload.buffer).setBigUint64(offset, value, true);
  return payload;
};

const mistakes: Record<string, Mistake> = {
  'an unknown request': { request: 99, payload: EMPTY, says: 'request 99: is unknown' },
  'an unknown request with descriptors': {
    request: 99,
    payload: EMPTY,
    fds: () => fds(3),
    says: 'request 99: is unknown',
  },
  'a log of writes': { request: 6, payload: new Uint8Array(16), fds: () => fds(1), says: 'is unknown' },
  'a payload where there is none': {
    request: Request.SET_OWNER,
    payload: new Uint8Array(8),
    says: 'payload has 8 bytes instead of 0',
  },
  'a payload that is too short': {
    request: Request.SET_VRING_NUM,
    payload: new Uint8Array(4),
    says: 'payload has 4 bytes instead of 8',
  },
  'a payload that is too long': {
    request: Request.SET_FEATURES,
    payload: new Uint8Array(9),
    says: 'payload has 9 bytes instead of 8',
  },
  'features that were not offered': {
    request: Request.SET_FEATURES,
    payload: encodeU64(1n << 34n),
    says: 'features 0x400000000 were not offered',
  },
  'protocol features that were not offered': {
    request: Request.SET_PROTOCOL_FEATURES,
    payload: encodeU64(1n << 8n),
    says: 'protocol features 0x100 were not offered',
  },
  'no descriptor where one belongs': {
    request: Request.SET_VRING_CALL,
    payload: vringFd(0, true),
    says: '0 descriptors came along instead of 1',
  },
  'two descriptors where one belongs': {
    request: Request.SET_VRING_KICK,
    payload: vringFd(0, true),
    fds: () => fds(2),
    says: '2 descriptors came along instead of 1',
  },
  'a descriptor where none is said to be': {
    request: Request.SET_VRING_ERR,
    payload: vringFd(0, false),
    fds: () => fds(1),
    says: '1 descriptors came along instead of 0',
  },
  'a descriptor with a message that takes none': {
    request: Request.SET_OWNER,
    payload: EMPTY,
    fds: () => fds(1),
    says: '1 descriptors came along instead of 0',
  },
  'more descriptors than any message takes': {
    request: Request.SET_OWNER,
    payload: EMPTY,
    fds: () => fds(40),
    says: 'more than',
  },
  'a file instead of an eventfd': {
    request: Request.SET_VRING_KICK,
    payload: vringFd(0, true),
    fds: () => [memory()],
    says: 'the descriptor is no eventfd',
  },
  'a socket instead of an eventfd': {
    request: Request.SET_VRING_CALL,
    payload: vringFd(0, true),
    fds: () => createSocketPair().map(keep).slice(1),
    says: 'the descriptor is no eventfd',
  },
  'a table with fewer files than regions': {
    request: Request.SET_MEM_TABLE,
    payload: encodeMemoryTable([REGION, { ...REGION, guestAddress: 65536 }]),
    fds: () => [memory()],
    says: '1 descriptors came along instead of 2',
  },
  'regions that overlap': {
    request: Request.SET_MEM_TABLE,
    payload: encodeMemoryTable([REGION, { ...REGION, guestAddress: 61440 }]),
    fds: () => [memory(), memory()],
    says: 'regions at 0x0 and 0xf000 overlap',
  },
  'no regions': { request: Request.SET_MEM_TABLE, payload: encodeMemoryTable([]), says: '0 regions' },
  'more regions than offered': {
    request: Request.SET_MEM_TABLE,
    payload: encodeMemoryTable(
      Array.from({ length: 33 }, (_, i) => ({ ...REGION, guestAddress: i * 65536 })),
    ),
    says: 'memory table of 33 regions',
  },
  'a region of size 0': {
    request: Request.ADD_MEM_REG,
    payload: region({ guestAddress: 65536, size: 0 }),
    fds: () => [memory()],
    says: 'has size 0',
  },
  'a region whose end wraps': {
    request: Request.ADD_MEM_REG,
    payload: raw(region({}), 8, 2n ** 64n - 4096n),
    fds: () => [memory()],
    says: 'beyond 2^53',
  },
  'a region that reaches beyond its file': {
    request: Request.ADD_MEM_REG,
    payload: region({ guestAddress: 65536, mmapOffset: 8 }),
    fds: () => [memory()],
    says: "reaches beyond the file's 65536",
  },
  'a region that begins beyond its file': {
    request: Request.ADD_MEM_REG,
    payload: region({ guestAddress: 65536, size: 8, mmapOffset: 2 ** 40 }),
    fds: () => [memory()],
    says: "reaches beyond the file's 65536",
  },
  'a region at an odd address': {
    request: Request.ADD_MEM_REG,
    payload: region({ guestAddress: 65537, size: 4096 }),
    fds: () => [memory()],
    says: 'must be a multiple of 8',
  },
  'a region that is no file': {
    request: Request.ADD_MEM_REG,
    payload: region({ guestAddress: 65536 }),
    fds: () => fds(1),
    says: 'is no file',
  },
  'a region that overlaps one that is there': {
    request: Request.ADD_MEM_REG,
    payload: region({ guestAddress: 32768 }),
    fds: () => [memory()],
    says: 'regions at 0x0 and 0x8000 overlap',
  },
  'a region to remove that is not there': {
    request: Request.REM_MEM_REG,
    payload: region({ guestAddress: 8 }),
    says: 'there is no region of 65536 bytes at 0x8 to remove',
  },
  'a ring beyond the queues': {
    request: Request.SET_VRING_NUM,
    payload: state(3, 128),
    says: 'front end uses queue 3, the export has 2: add num-queues=4 to the export',
  },
  'a ring far beyond the queues': {
    request: Request.SET_VRING_ENABLE,
    payload: state(0xffff_ffff, 1),
    says: 'front end uses queue 4294967295',
  },
  'a kick of a ring beyond the queues': {
    request: Request.SET_VRING_KICK,
    payload: vringFd(255, true),
    fds: () => fds(1),
    says: 'front end uses queue 255',
  },
  'a ring of size 0': {
    request: Request.SET_VRING_NUM,
    payload: state(0, 0),
    says: 'must be a power of two',
  },
  'a ring of size 3': {
    request: Request.SET_VRING_NUM,
    payload: state(0, 3),
    says: 'must be a power of two',
  },
  'a ring that is too large': {
    request: Request.SET_VRING_NUM,
    payload: state(0, 65536),
    says: 'power of two, 1 to 32768',
  },
  'a ring that goes on beyond 16 bits': {
    request: Request.SET_VRING_BASE,
    payload: state(0, 0x1_0000),
    says: 'indexes have 16 bits',
  },
  'a ring enabled by 2': { request: Request.SET_VRING_ENABLE, payload: state(0, 2), says: 'not by 2' },
  'a ring outside of memory': {
    request: Request.SET_VRING_ADDR,
    payload: at(0x1000),
    says: 'is not in the memory that was shared',
  },
  'a ring at an address beyond 2^53': {
    request: Request.SET_VRING_ADDR,
    payload: raw(at(0), 8, 2n ** 64n - 16n),
    says: 'is beyond 2^53',
  },
  'a ring whose last byte is outside of memory': {
    request: Request.SET_VRING_ADDR,
    payload: at(0x7000_0000, 0x7000_4000, 0x7000_ffff),
    says: 'used ring of ring 0',
  },
  'a log of a ring': {
    request: Request.SET_VRING_ADDR,
    payload: raw(at(0x7000_0000), 0, 1n << 32n),
    says: 'a log of writes is asked for',
  },
  'a write beyond writeback': {
    request: Request.SET_CONFIG,
    payload: encodeConfigAccess({ offset: 0, bytes: new Uint8Array(8) }),
    says: '8 bytes of the configuration at 0',
  },
  'a channel without a socket': {
    request: Request.SET_BACKEND_REQ_FD,
    payload: EMPTY,
    says: '0 descriptors came along instead of 1',
  },
};

describe.each(Object.keys(mistakes))('%s', (name) => {
  const { request, payload, fds: along, says } = mistakes[name]!;

  test('is refused where an acknowledgement is asked for, and the connection goes on', async () => {
    const requests = await negotiated(true);
    await expect(requests.tell(request, payload, along?.())).rejects.toMatchObject({ code: 'ERR_REFUSED' });
    await requests.tell(Request.SET_OWNER);
    expect(rig.messages('warning').join('\n')).toContain(says);
    requests.close();
    await expectServes();
    for (const fd of own.splice(0)) closeFd(fd);
    await until('all descriptors are closed', () => openFds() === fdsAtRest);
    await until('all memory is unmapped', () => guestMappings() === mappingsAtRest);
  });

  test('closes the connection where none is', async () => {
    const requests = await negotiated(true);
    requests.send(request, 0, payload, along?.());
    await expectClosed(requests);
    expect(rig.messages('warning').join('\n')).toContain(says);
  });
});

describe('what needs a protocol feature is refused without it', () => {
  test.each([
    ['GET_QUEUE_NUM', Request.GET_QUEUE_NUM, EMPTY, 0],
    ['SET_CONFIG', Request.SET_CONFIG, encodeConfigAccess({ offset: 32, bytes: Uint8Array.of(1) }), 9],
    ['GET_MAX_MEM_SLOTS', Request.GET_MAX_MEM_SLOTS, EMPTY, 15],
    ['ADD_MEM_REG', Request.ADD_MEM_REG, region({}), 15],
    ['REM_MEM_REG', Request.REM_MEM_REG, region({}), 15],
    ['SET_BACKEND_REQ_FD', Request.SET_BACKEND_REQ_FD, EMPTY, 5],
  ])('%s', async (name, request, payload, feature) => {
    const requests = rig.connectBare();
    // Acknowledgements are a feature as well.
    requests.send(request, FLAG_NEED_REPLY, payload);
    await expectClosed(requests);
    expect(rig.messages('warning')).toContainEqual(
      `${name}: needs protocol feature ${feature}, which was not negotiated: connection closed`,
    );
  });

  test('GET_CONFIG has an answer for it', async () => {
    const requests = rig.connectBare();
    const payload = encodeConfigAccess({ offset: 0, bytes: new Uint8Array(8) });
    expect(await requests.ask(Request.GET_CONFIG, payload)).toHaveLength(0);
  });
});

test('the configuration beyond 256 bytes: an empty answer', async () => {
  const requests = await negotiated();
  const payload = encodeConfigAccess({ offset: 250, bytes: new Uint8Array(7) });
  expect(await requests.ask(Request.GET_CONFIG, payload)).toHaveLength(0);
  await requests.tell(Request.SET_OWNER);
});

describe('what is no message closes the connection, whatever was negotiated', () => {
  const header = (flags: number, size: number): Uint8Array => {
    const bytes = new Uint8Array(HEADER_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, Request.SET_OWNER, true);
    view.setUint32(4, flags, true);
    view.setUint32(8, size, true);
    return bytes;
  };

  test.each([
    ['another version', header(2, 0), 'message has version 2'],
    ['no version', header(FLAG_NEED_REPLY, 0), 'message has version 0'],
    ['a size above the maximum', header(1, MAX_PAYLOAD_BYTES + 1), 'more than 4096'],
    ['the largest size there is', header(1, 0xffff_ffff), 'more than 4096'],
  ])('%s', async (_, bytes, says) => {
    const requests = await negotiated();
    requests.sendBytes(bytes, [eventfd(), memory()]);
    await expectClosed(requests);
    expect(rig.messages('warning').join('\n')).toContain(says);
  });

  test('an answer that nobody asked for', async () => {
    const requests = await negotiated();
    requests.send(Request.SET_OWNER, FLAG_REPLY, EMPTY);
    await expectClosed(requests);
    expect(rig.messages('warning').join('\n')).toContain('is marked as an answer');
  });
});

describe('a message that comes in pieces', () => {
  const message = encodeMessage(Request.ADD_MEM_REG, FLAG_NEED_REPLY, region({}));

  test('byte by byte, with its descriptor at the first', async () => {
    const requests = await negotiated();
    for (let i = 0; i < message.length; i++) {
      requests.sendBytes(message.subarray(i, i + 1), i === 0 ? [memory()] : []);
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    expect((await requests.receive())!.payload).toEqual(encodeU64(0));
  });

  test('ends anywhere: the descriptors are closed', async () => {
    for (const length of [1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 1, message.length - 1]) {
      const requests = await negotiated();
      requests.sendBytes(message.subarray(0, length), [memory(), eventfd()]);
      requests.close();
    }
    await expectServes();
    for (const fd of own.splice(0)) closeFd(fd);
    await until('all descriptors are closed', () => openFds() === fdsAtRest);
    expect(rig.messages('warning').join('\n')).toContain('connection ended within a message');
  });

  test('has descriptors with every byte: no more than a message takes are kept meanwhile', async () => {
    const requests = await negotiated();
    const many = fds(30);
    const before = openFds();
    for (let i = 0; i < message.length - 1; i++) {
      requests.sendBytes(message.subarray(i, i + 1), many);
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    expect(openFds() - before).toBeLessThan(64);
    requests.sendBytes(message.subarray(message.length - 1));
    expect((await requests.receive())!.payload).toEqual(encodeU64(1));
  });

  test('many at once: each is dealt with', async () => {
    const requests = await negotiated();
    const one = encodeMessage(Request.SET_OWNER, FLAG_NEED_REPLY, EMPTY);
    const all = new Uint8Array(one.length * 100);
    for (let i = 0; i < 100; i++) all.set(one, i * one.length);
    requests.sendBytes(all);
    for (let i = 0; i < 100; i++) expect((await requests.receive())!.payload).toEqual(encodeU64(0));
  });
});

test('a legacy driver is told so', async () => {
  await expect(rig.connect({ features: ~(1n << 32n) })).rejects.toMatchObject({ code: 'ERR_REFUSED' });
  expect(rig.messages('warning').join()).toContain('legacy drivers are not served');
  await expectServes();
});

test('a ring that the device refuses is refused, and others start', async () => {
  const frontEnd = await rig.connect({ numQueues: 2, start: false });
  const { addresses } = frontEnd.queues[0]!;
  await frontEnd.requests.tell(Request.SET_VRING_NUM, state(0, 128));
  await frontEnd.setAddresses(0, { ...addresses, usedRing: addresses.usedRing + 2 });
  await frontEnd.requests.tell(Request.SET_VRING_KICK, vringFd(0, false));
  await expect(frontEnd.setEnable(0, true)).rejects.toMatchObject({ code: 'ERR_REFUSED' });
  expect(rig.messages('warning').join()).toContain('used ring');
  await frontEnd.startQueue(1);
  await frontEnd.queues[1]!.write(0, pattern(512, 1));
  await frontEnd.startQueue(0);
  expectBytes(await frontEnd.queues[0]!.read(0, 512), pattern(512, 1));
});

test('a ring larger than the memory behind it is refused', async () => {
  const frontEnd = await rig.connect({ memoryBytes: 65536, dataBytes: 512, queueSize: 16, start: false });
  await frontEnd.requests.tell(Request.SET_VRING_NUM, state(0, 32768));
  await expect(frontEnd.setAddresses(0, frontEnd.queues[0]!.addresses)).rejects.toMatchObject({
    code: 'ERR_REFUSED',
  });
});

test('a region that may only be read is refused', async () => {
  const requests = await negotiated();
  const fd = openSync('/proc/self/exe', 'r');
  try {
    await expect(requests.tell(Request.ADD_MEM_REG, region({ size: 4096 }), [fd])).rejects.toMatchObject({
      code: 'ERR_REFUSED',
    });
    expect(rig.messages('warning').join()).toContain("can't be mapped: mmap: EACCES");
  } finally {
    closeSync(fd);
  }
});

test('who does not read answers is disconnected', async () => {
  const requests = rig.connectBare();
  let sent = 0;
  await expect(
    (async () => {
      // Bounded: both directions' buffers fill up, or the back end gives up before.
      for (; sent < 100_000; sent++) {
        requests.send(Request.GET_FEATURES, 0, EMPTY);
        if (sent % 100 === 0) {
          await new Promise((resolve) => {
            setImmediate(resolve);
          });
        }
      }
    })(),
  ).rejects.toMatchObject({ code: 'ERR_DISCONNECTED' });
  requests.close();
  await expectServes();
});

test('mistakes by the hundred make a few lines', async () => {
  const requests = await negotiated();
  for (let i = 0; i < 300; i++) await expect(requests.tell(99)).rejects.toThrow('refused');
  expect(rig.messages('warning').length).toBeLessThan(100);
});

test('any messages in any order: the export lives, and keeps nothing', async () => {
  const word = fc.oneof(
    { weight: 3, arbitrary: fc.nat(3) },
    fc.constantFrom(128, 256, 512, 4096, 65536, 0x7000_0000, 0x7000_4000, 0xffff_ffff),
  );
  const payload = fc
    .array(word, { maxLength: 12 })
    .map((words) => new Uint8Array(Uint32Array.from(words).buffer));
  const sound = fc.constantFrom(
    ...[0, 1].flatMap((index) => [
      [Request.SET_VRING_NUM, state(index, 64), 0] as const,
      [
        Request.SET_VRING_ADDR,
        encodeVringAddress({
          index,
          descriptorTable: 0x7000_0000,
          availRing: 0x7000_4000,
          usedRing: 0x7000_8000,
        }),
        0,
      ] as const,
      [Request.SET_VRING_KICK, vringFd(index, true), 1] as const,
      [Request.SET_VRING_CALL, vringFd(index, true), 1] as const,
      [Request.SET_VRING_ENABLE, state(index, 1), 0] as const,
      [Request.SET_VRING_ENABLE, state(index, 0), 0] as const,
      [Request.GET_VRING_BASE, state(index, 0), 0] as const,
      [Request.SET_FEATURES, encodeU64(0x1_7000_0e44n), 0] as const,
      [Request.SET_MEM_TABLE, encodeMemoryTable([REGION]), 1] as const,
      [Request.ADD_MEM_REG, region({ guestAddress: 65536, userAddress: 0x7100_0000 }), 1] as const,
      [Request.REM_MEM_REG, region({ guestAddress: 65536, userAddress: 0x7100_0000 }), 0] as const,
    ]),
  );
  const message = fc.oneof(
    { weight: 5, arbitrary: sound },
    fc.tuple(fc.nat(45), payload, fc.nat(2)).map((tuple) => tuple as readonly [number, Uint8Array, number]),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(message, { maxLength: 40 }), async (messages) => {
      const requests = await negotiated();
      const files = { memory: createMemfd('guest-memory', 65536), eventfd: createEventfd() };
      try {
        for (const [request, bytes, count] of messages) {
          const isMemory = request === Request.SET_MEM_TABLE || request === Request.ADD_MEM_REG;
          const fd = isMemory ? files.memory : files.eventfd;
          requests.send(
            request,
            FLAG_NEED_REPLY,
            bytes,
            Array.from({ length: count }, () => fd),
          );
        }
      } catch (error) {
        expect(error).toHaveProperty('code', 'ERR_DISCONNECTED');
      }
      requests.close();
      closeFd(files.memory);
      closeFd(files.eventfd);
    }),
    { seed, numRuns: 40 },
  );
  await expectServes();
  await until('all descriptors are closed', () => openFds() === fdsAtRest);
  await until('all memory is unmapped', () => guestMappings() === mappingsAtRest);
  expect(rig.messages('error')).toEqual([]);
});
