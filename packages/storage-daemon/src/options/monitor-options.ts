import type { OptionWords } from '@iothreads/backends/blockdev';
import * as v from 'valibot';
import { fields } from './check-options.js';
import { inBothDialects } from './scalars.js';

/** A QMP monitor as `--monitor` describes it. */
export interface MonitorOptions {
  readonly chardev: string;
  /** Replies are indented, for people. */
  readonly pretty?: boolean | undefined;
}

export const monitorSchemas = inBothDialects(monitorSchema);

function monitorSchema({ text, onOff, choice }: OptionWords): v.GenericSchema<unknown, MonitorOptions> {
  return fields({
    chardev: text,
    id: v.optional(text),
    mode: v.optional(
      v.pipe(
        choice(['control', 'readline']),
        v.check((mode) => mode === 'control', 'must be control: only QMP is supported'),
      ),
    ),
    pretty: v.optional(onOff),
  });
}
