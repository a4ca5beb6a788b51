// What a front end that breaks the rules gets: an error where the protocol has one, otherwise a closed connection. The export goes on,
// and keeps nothing of what it was given.
import { closeFd, createEventfd, createMemfd } from '@iothreads/linux';
import type { LogLevel } from '@iothreads/vhost-user';
import {
  encodeConfigAccess,
  encodeMemoryTable,
  encodeMessage,
  encodeU64,
  encodeVringAddress,
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  type FrontEndOptions,
  type FrontEndRequests,
  HEADER_BYTES,
  MAX_PAYLOAD_BYTES,
  Request,
  type VhostUserFrontEnd,
} from '@iothreads/vhost-user/front-end';
import fc from 'fast-check';
import { closeSync, openSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../../../../test/support/within.js';
import { EMPTY, mistakes, REGION, region, state, vringFd } from './message-mistakes.js';
import { OwnFds } from './own-fds.js';
import { expectBytes, pattern } from './pattern.js';
import { seed } from './seed.js';

/** An export of two queues, in this process or another. */
export interface MessageTarget {
  /** Before each test: nobody is connected, nothing was told. */
  prepare(): Promise<void>;
  /** A connection on which nothing has been said. */
  connectBare(): FrontEndRequests;
  connect(options?: FrontEndOptions): Promise<VhostUserFrontEnd>;
  /** Descriptors that its process has open, and mappings of guest memory. */
  openFds(): number;
  guestMappings(): number;
  /** What was told since `prepare`. */
  messages(level: LogLevel): readonly string[];
  /** Whether that is all there was to tell: what tests before have told is not counted against the limit. */
  readonly tellsAll: boolean;
  /** After each test. */
  expectUnharmed(): Promise<void>;
}

const PROTOCOL_FEATURES = 0x8629n;

/** Every mistake that a front end can make with its messages. */
export function describeHostileMessages(find: () => MessageTarget): void {
  let target: MessageTarget;
  let fdsAtRest: number;
  let mappingsAtRest: number;
  const own = new OwnFds();

  beforeEach(async () => {
    target = find();
    await target.prepare();
    fdsAtRest = target.openFds();
    mappingsAtRest = target.guestMappings();
  });

  afterEach(async () => {
    own.closeAll();
    await target.expectUnharmed();
  });

  function expectTold(text: string): void {
    if (target.tellsAll) expect(target.messages('warning').join('\n')).toContain(text);
  }

  async function expectNothingKept(): Promise<void> {
    own.closeAll();
    await until('all descriptors are closed', () => target.openFds() === fdsAtRest);
    await until('all memory is unmapped', () => target.guestMappings() === mappingsAtRest);
  }

  async function expectServes(): Promise<void> {
    const frontEnd = await target.connect();
    await frontEnd.queues[0]!.write(0, pattern(4096, 1));
    expectBytes(await frontEnd.queues[0]!.read(0, 4096), pattern(4096, 1));
    await frontEnd.close();
  }

  /** The connection has been closed, the export serves the next one, and nothing was kept. */
  async function expectClosed(requests: FrontEndRequests): Promise<void> {
    expect(await requests.receive()).toBeUndefined();
    requests.close();
    await expectServes();
    await expectNothingKept();
  }

  /** A bare connection with REPLY_ACK and all the others negotiated, and memory if wanted. */
  async function negotiated(withMemory = false): Promise<FrontEndRequests> {
    const requests = target.connectBare();
    // Answered when it is this one's turn.
    await requests.ask(Request.GET_FEATURES);
    await requests.tell(Request.SET_PROTOCOL_FEATURES, encodeU64(PROTOCOL_FEATURES));
    requests.protocolFeatures = PROTOCOL_FEATURES;
    if (withMemory) await requests.tell(Request.SET_MEM_TABLE, encodeMemoryTable([REGION]), [own.memory()]);
    return requests;
  }

  describe.each(Object.keys(mistakes))('%s', (name) => {
    const { request, payload, fds: along, says } = mistakes[name]!;

    test('is refused where an acknowledgement is asked for, and the connection goes on', async () => {
      const requests = await negotiated(true);
      await expect(requests.tell(request, payload, along?.(own))).rejects.toMatchObject({
        code: 'ERR_REFUSED',
      });
      await requests.tell(Request.SET_OWNER);
      expectTold(says);
      requests.close();
      await expectServes();
      await expectNothingKept();
    });

    test('closes the connection where none is', async () => {
      const requests = await negotiated(true);
      requests.send(request, 0, payload, along?.(own));
      await expectClosed(requests);
      expectTold(says);
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
      const requests = target.connectBare();
      // Acknowledgements are a feature as well.
      requests.send(request, FLAG_NEED_REPLY, payload);
      await expectClosed(requests);
      expectTold(`${name}: needs protocol feature ${feature}, which was not negotiated: connection closed`);
    });

    test('GET_CONFIG has an answer for it', async () => {
      const requests = target.connectBare();
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
      requests.sendBytes(bytes, [own.eventfd(), own.memory()]);
      await expectClosed(requests);
      expectTold(says);
    });

    test('an answer that nobody asked for', async () => {
      const requests = await negotiated();
      requests.send(Request.SET_OWNER, FLAG_REPLY, EMPTY);
      await expectClosed(requests);
      expectTold('is marked as an answer');
    });
  });

  describe('a message that comes in pieces', () => {
    const message = encodeMessage(Request.ADD_MEM_REG, FLAG_NEED_REPLY, region({}));

    test('byte by byte, with its descriptor at the first', async () => {
      const requests = await negotiated();
      for (let i = 0; i < message.length; i++) {
        requests.sendBytes(message.subarray(i, i + 1), i === 0 ? [own.memory()] : []);
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
      }
      expect((await requests.receive())!.payload).toEqual(encodeU64(0));
    });

    test('ends anywhere: the descriptors are closed', async () => {
      for (const length of [1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 1, message.length - 1]) {
        const requests = await negotiated();
        requests.sendBytes(message.subarray(0, length), [own.memory(), own.eventfd()]);
        requests.close();
      }
      await expectServes();
      await expectNothingKept();
      expectTold('connection ended within a message');
    });

    test('has descriptors with every byte: no more than a message takes are kept meanwhile', async () => {
      const requests = await negotiated();
      const many = own.eventfds(30);
      const before = target.openFds();
      for (let i = 0; i < message.length - 1; i++) {
        requests.sendBytes(message.subarray(i, i + 1), many);
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
      }
      expect(target.openFds() - before).toBeLessThan(64);
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
    await expect(target.connect({ features: ~(1n << 32n) })).rejects.toMatchObject({ code: 'ERR_REFUSED' });
    expectTold('legacy drivers are not served');
    await expectServes();
  });

  test('a ring that the device refuses is refused, and others start', async () => {
    const frontEnd = await target.connect({ numQueues: 2, start: false });
    const { addresses } = frontEnd.queues[0]!;
    await frontEnd.requests.tell(Request.SET_VRING_NUM, state(0, 128));
    await frontEnd.setAddresses(0, { ...addresses, usedRing: addresses.usedRing + 2 });
    await frontEnd.requests.tell(Request.SET_VRING_KICK, vringFd(0, false));
    await expect(frontEnd.setEnable(0, true)).rejects.toMatchObject({ code: 'ERR_REFUSED' });
    expectTold('used ring');
    await frontEnd.startQueue(1);
    await frontEnd.queues[1]!.write(0, pattern(512, 1));
    await frontEnd.startQueue(0);
    expectBytes(await frontEnd.queues[0]!.read(0, 512), pattern(512, 1));
  });

  test('a ring larger than the memory behind it is refused', async () => {
    const frontEnd = await target.connect({
      memoryBytes: 65536,
      dataBytes: 512,
      queueSize: 16,
      start: false,
    });
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
      expectTold("can't be mapped: mmap: EACCES");
    } finally {
      closeSync(fd);
    }
  });

  test('who does not read answers is disconnected', async () => {
    const requests = target.connectBare();
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
    expect(target.messages('warning').length).toBeLessThan(100);
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
    await expectNothingKept();
    expect(target.messages('error')).toEqual([]);
  });
}
