import { BlockDriverError } from '@iothreads/backends';
import { VirtioError, type VirtioErrorCode } from '@iothreads/core';
import { transferHandlers } from 'comlink';
import { IOThreadError, type IOThreadErrorCode } from '../iothread-error.js';

/** What of an error crosses between threads: structured cloning would lose its class and its `code`. */
interface WireError {
  readonly name: string;
  readonly message: string;
  readonly code: string | undefined;
  readonly stack: string | undefined;
}

/** Comlink's envelope of something thrown. */
interface Thrown {
  readonly value: unknown;
}

const throwHandler = transferHandlers.get('throw')!;

/** Replaces comlink's own handler, on both sides: errors arrive as what they were. */
transferHandlers.set('throw', {
  canHandle: (value): value is unknown => throwHandler.canHandle(value),
  serialize: (thrown) => {
    const { value } = thrown as Thrown;
    return [value instanceof Error ? toWire(value) : toWire(new Error(String(value))), []];
  },
  deserialize: (wire) => {
    throw fromWire(wire as WireError);
  },
});

function toWire(error: Error): WireError {
  const code: unknown = 'code' in error ? error.code : undefined;
  return {
    name: error.name,
    message: error.message,
    code: typeof code === 'string' ? code : undefined,
    stack: error.stack,
  };
}

function fromWire(wire: WireError): Error {
  const error = revive(wire);
  if (wire.stack !== undefined) error.stack = wire.stack;
  return error;
}

function revive({ name, message, code }: WireError): Error {
  if (name === 'IOThreadError') return new IOThreadError(code as IOThreadErrorCode, message);
  if (name === 'VirtioError') return new VirtioError(code as VirtioErrorCode, message);
  if (name === 'BlockDriverError') return new BlockDriverError(code ?? 'UNKNOWN', message);
  return Object.assign(new Error(message), { name, ...(code === undefined ? {} : { code }) });
}
