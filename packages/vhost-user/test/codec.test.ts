// What is written is read again; what nobody wrote is refused by an error of ours, never by anything else.
import { VhostUserError } from '@iothreads/vhost-user';
import {
  decodeConfigAccess,
  decodeHeader,
  decodeMemoryTable,
  decodeSingleRegion,
  decodeU64,
  decodeVringAddress,
  decodeVringFd,
  decodeVringState,
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
  HEADER_BYTES,
  MAX_PAYLOAD_BYTES,
  MAX_TABLE_REGIONS,
} from '@iothreads/vhost-user/front-end';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seed } from './support/seed.js';

const u32 = fc.nat(0xffff_ffff);
const address = fc.maxSafeInteger().map(Math.abs);

const region = fc
  .record({
    guestAddress: address,
    size: fc.integer({ min: 1, max: 2 ** 40 }),
    userAddress: address,
    mmapOffset: address,
  })
  .filter(({ guestAddress, size, userAddress, mmapOffset }) =>
    [guestAddress, userAddress, mmapOffset].every((start) => Number.isSafeInteger(start + size)),
  );

function roundTrip<Value>(
  values: fc.Arbitrary<Value>,
  encode: (value: Value) => Uint8Array,
  decode: (payload: Uint8Array) => Value,
): void {
  fc.assert(
    fc.property(values, (value) => {
      expect(decode(encode(value))).toEqual(value);
    }),
    { seed },
  );
}

describe('what is encoded is decoded', () => {
  test('u64', () => roundTrip(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), encodeU64, decodeU64));

  test('ring states', () =>
    roundTrip(fc.record({ index: u32, num: u32 }), encodeVringState, decodeVringState));

  test('ring addresses', () =>
    roundTrip(
      fc.record({ index: u32, descriptorTable: address, usedRing: address, availRing: address }),
      encodeVringAddress,
      decodeVringAddress,
    ));

  test('ring descriptors', () =>
    roundTrip(fc.record({ index: fc.nat(255), hasFd: fc.boolean() }), encodeVringFd, decodeVringFd));

  test('regions', () => roundTrip(region, encodeSingleRegion, decodeSingleRegion));

  test('tables of regions', () =>
    roundTrip(
      fc.array(region, { minLength: 1, maxLength: MAX_TABLE_REGIONS }),
      encodeMemoryTable,
      decodeMemoryTable,
    ));

  test('accesses to the configuration', () =>
    roundTrip(
      fc
        .record({ offset: fc.nat(256), bytes: fc.uint8Array({ maxLength: 256 }) })
        .filter(({ offset, bytes }) => offset + bytes.length <= 256),
      encodeConfigAccess,
      (payload) => {
        const { offset, bytes } = decodeConfigAccess(payload);
        return { offset, bytes: bytes.slice() };
      },
    ));

  test('headers', () => {
    fc.assert(
      fc.property(
        u32,
        fc.boolean(),
        fc.boolean(),
        fc.uint8Array({ maxLength: 300 }),
        (request, reply, needReply, payload) => {
          const flags = (reply ? FLAG_REPLY : 0) | (needReply ? FLAG_NEED_REPLY : 0);
          const message = encodeMessage(request, flags, payload);
          expect(decodeHeader(message)).toEqual({ request, reply, needReply, payloadBytes: payload.length });
          expect(message.slice(HEADER_BYTES)).toEqual(payload);
        },
      ),
      { seed },
    );
  });
});

describe('any bytes are decoded, or refused by an error of ours', () => {
  const decoders: Readonly<Record<string, (payload: Uint8Array) => unknown>> = {
    decodeU64,
    decodeVringState,
    decodeVringAddress,
    decodeVringFd,
    decodeSingleRegion,
    decodeMemoryTable,
    decodeConfigAccess,
    'a question for the configuration': (payload) => decodeConfigAccess(payload, true),
  };
  // Small numbers in most places, so that sizes and counts are often right.
  const bytes = fc
    .array(fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.nat(8), fc.nat(255)), { maxLength: 340 })
    .map((values) => Uint8Array.from(values));

  test.each(Object.keys(decoders))('%s', (name) => {
    fc.assert(
      fc.property(bytes, (payload) => {
        try {
          decoders[name]!(payload);
        } catch (error) {
          expect(error).toBeInstanceOf(VhostUserError);
          expect(error).toHaveProperty('code', 'ERR_PROTOCOL');
        }
      }),
      { seed, numRuns: 500 },
    );
  });

  test('headers', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: HEADER_BYTES, maxLength: HEADER_BYTES }), (header) => {
        try {
          expect(decodeHeader(header).payloadBytes).toBeLessThanOrEqual(MAX_PAYLOAD_BYTES);
        } catch (error) {
          expect(error).toHaveProperty('code', 'ERR_FRAMING');
        }
      }),
      { seed },
    );
  });
});

describe('refused', () => {
  const patched = (payload: Uint8Array, at: number, value: bigint): Uint8Array => {
    new DataView(payload.buffer).setBigUint64(at, value, true);
    return payload;
  };
  const good = { guestAddress: 4096, size: 4096, userAddress: 8192, mmapOffset: 0 };

  test.each([
    ['a region of size 0', 16, 0n, 'has size 0'],
    ['a size beyond 2^53', 16, 2n ** 53n, 'size of a region 0x20000000000000 is beyond 2^53'],
    ['a guest address beyond 2^53', 8, 2n ** 64n - 4096n, 'guest address of a region'],
    ['a guest address that wraps with its size', 8, 2n ** 53n - 4095n, 'ends beyond 2^53'],
    ['a user address that wraps with its size', 24, 2n ** 53n - 1n, 'ends beyond 2^53'],
    ['a file offset that wraps with its size', 32, 2n ** 53n - 1n, 'ends beyond 2^53'],
  ])('%s', (_, at, value, message) => {
    expect(() => decodeSingleRegion(patched(encodeSingleRegion(good), at, value))).toThrow(message);
  });

  test('a table without regions, and one of too many', () => {
    expect(() => decodeMemoryTable(encodeMemoryTable([]))).toThrow('memory table of 0 regions');
    const many = Array.from({ length: MAX_TABLE_REGIONS + 1 }, () => good);
    expect(() => decodeMemoryTable(encodeMemoryTable(many))).toThrow(
      `memory table of ${many.length} regions`,
    );
  });

  test('a table that says more regions than it has', () => {
    const payload = encodeMemoryTable([good]);
    payload[0] = 2;
    expect(() => decodeMemoryTable(payload)).toThrow('payload has 40 bytes instead of 72');
  });

  test.each([
    [0, 257],
    [256, 1],
    [0xffff_ffff, 2],
    [1, 0xffff_ffff],
  ])('the configuration at %i, %i bytes', (offset, size) => {
    const payload = encodeConfigAccess({ offset, bytes: new Uint8Array() });
    new DataView(payload.buffer).setUint32(4, size, true);
    expect(() => decodeConfigAccess(payload, true)).toThrow('of the configuration at');
  });

  test('an access to the configuration that carries less than it says', () => {
    const payload = encodeConfigAccess({ offset: 0, bytes: new Uint8Array(4) });
    expect(() => decodeConfigAccess(payload.subarray(0, 14))).toThrow('carries 2');
  });

  test('another version, and a payload above the maximum', () => {
    expect(() => decodeHeader(new Uint8Array(HEADER_BYTES))).toThrow('message has version 0, not 1');
    const header = encodeMessage(1, 0, new Uint8Array());
    new DataView(header.buffer).setUint32(8, MAX_PAYLOAD_BYTES + 1, true);
    expect(() => decodeHeader(header)).toThrow('4097 bytes follow, more than 4096');
  });
});
