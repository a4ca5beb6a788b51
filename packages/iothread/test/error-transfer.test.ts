// What an iothread throws arrives on the controlling thread as what it was.
import { BlockDriverError } from '@iothreads/backends';
import { VirtioError } from '@iothreads/core';
import { IOThreadError } from '@iothreads/iothread';
import { expose, wrap } from 'comlink';
import { MessageChannel } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { asEndpoint } from '../dist/control/endpoint.js';
import '../dist/control/error-transfer.js';

let channel: MessageChannel;

beforeEach(() => {
  channel = new MessageChannel();
});

afterEach(() => {
  channel.port1.close();
});

/** Throws `value` on one side. @returns what arrives on the other */
async function send(value: unknown): Promise<unknown> {
  expose(
    {
      fail(): void {
        throw value;
      },
    },
    asEndpoint(channel.port1),
  );
  const remote = wrap<{ fail(): void }>(asEndpoint(channel.port2));
  return remote.fail().then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe('errors of ours keep class, code and message', () => {
  test.each([
    [IOThreadError, new IOThreadError('ERR_DRAIN_TIMEOUT', 'too late')],
    [BlockDriverError, new BlockDriverError('ENOENT', 'no such disk')],
    [VirtioError, new VirtioError('ERR_QUEUE_SIZE', 'too large')],
  ])('%o', async (type, error) => {
    const arrived = (await send(error)) as typeof error;
    expect(arrived).toBeInstanceOf(type);
    expect(arrived).not.toBe(error);
    expect(arrived.code).toBe(error.code);
    expect(arrived.message).toBe(error.message);
    // Where it happened, not where it arrived.
    expect(arrived.stack).toBe(error.stack);
  });
});

test('system errors keep their code', async () => {
  const error = Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO', errno: -5 });
  expect(await send(error)).toMatchObject({ name: 'Error', message: error.message, code: 'EIO' });
});

test('other errors keep their name, and get no code', async () => {
  const arrived = await send(new RangeError('out of range'));
  expect(arrived).toMatchObject({ name: 'RangeError', message: 'out of range' });
  expect(arrived).not.toHaveProperty('code');
});

test.each([['text'], [42], [null], [undefined]])('%o, which is no error, arrives as one', async (value) => {
  const arrived = await send(value);
  expect(arrived).toBeInstanceOf(Error);
  expect((arrived as Error).message).toBe(String(value));
});
