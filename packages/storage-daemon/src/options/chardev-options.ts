import type { OptionWords } from '@iothreads/backends/blockdev';
import * as v from 'valibot';
import { fields } from './check-options.js';
import { idSchema } from './export-options.js';
import { fileMode, inBothDialects, scalars } from './scalars.js';

/** A character device as `--chardev` describes it. */
export type ChardevOptions = SocketChardevOptions | { readonly backend: 'stdio'; readonly id: string };

export interface SocketChardevOptions {
  readonly backend: 'socket';
  readonly id: string;
  readonly path: string;
  /** Permission bits of the socket of a server; 0600 where nothing is said. */
  readonly mode?: number | undefined;
  /** Listens; otherwise connects. */
  readonly server?: boolean | undefined;
  /** A server that waits for its first client before anything else happens; so by default. */
  readonly wait?: boolean | undefined;
}

export const chardevSchemas = inBothDialects(chardevSchema);

function chardevSchema(dialect: OptionWords): v.GenericSchema<unknown, ChardevOptions> {
  const { text, onOff, choice } = dialect;
  const id = idSchema(dialect);
  const socket = fields({
    backend: v.literal('socket'),
    id,
    path: text,
    mode: v.optional(fileMode(text)),
    server: v.optional(onOff),
    wait: v.optional(onOff),
  });
  const stdio = fields({ backend: v.literal('stdio'), id });
  const unknownBackend = v.looseObject(
    { backend: choice(['socket', 'stdio']) },
    "Parameter 'backend' is missing",
  );
  return v.lazy((input): v.GenericSchema<unknown, ChardevOptions> => {
    const backend = typeof input === 'object' && input !== null && 'backend' in input ? input.backend : '';
    if (backend === 'socket') return socket;
    return backend === 'stdio' ? stdio : (unknownBackend as unknown as typeof socket);
  });
}

/** The arguments of QMP's `chardev-add`, which says the same in another shape. */
export const chardevAddSchema = chardevAdd(scalars('json'));

function chardevAdd(json: OptionWords): v.GenericSchema<unknown, ChardevOptions> {
  const { text, onOff, choice } = json;
  const address = fields({
    type: choice(['unix']),
    data: fields({ path: text, mode: v.optional(fileMode(text)) }),
  });
  const socket = fields({
    type: v.literal('socket'),
    data: fields({
      addr: address,
      server: v.optional(onOff, true),
      wait: v.optional(
        v.pipe(
          onOff,
          v.check((wait) => !wait, "can't be true: the monitor would wait as well"),
        ),
      ),
    }),
  });
  const stdio = fields({ type: v.literal('stdio'), data: v.optional(fields({})) });
  const unknownType = v.looseObject({ type: choice(['socket', 'stdio']) }, 'is missing');
  type Backend = v.InferOutput<typeof socket> | v.InferOutput<typeof stdio>;
  return v.pipe(
    fields({
      id: idSchema(json),
      backend: v.lazy((backend): v.GenericSchema<unknown, Backend> => {
        const type = typeof backend === 'object' && backend !== null && 'type' in backend ? backend.type : '';
        if (type === 'socket') return socket;
        return type === 'stdio' ? stdio : (unknownType as unknown as typeof stdio);
      }),
    }),
    v.transform(({ id, backend }): ChardevOptions => {
      if (backend.type === 'stdio') return { backend: 'stdio', id };
      const { addr, server } = backend.data;
      return { backend: 'socket', id, ...addr.data, server, wait: false };
    }),
  );
}
