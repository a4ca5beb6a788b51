import { type BlockdevOptions, blockdevSchema } from '@iothreads/backends/blockdev';
import { DEFAULT_POLLING, MAX_QUEUE_SIZE, SERIAL_BYTES } from '@iothreads/core';
import * as v from 'valibot';
import {
  BLOCK_SIZES,
  DEFAULT_QUEUE_SIZE,
  MAX_POLL_FACTOR,
  MAX_POLL_NS,
  MAX_QUEUES,
  MIN_QUEUE_SIZE,
  WELL_FORMED_ID,
} from '../configuration-limits.js';
import {
  READ_ERROR_POLICIES,
  type ReadErrorPolicy,
  WRITE_ERROR_POLICIES,
  type WriteErrorPolicy,
} from '../../shared/error-policies.js';
import { machineWords, oneOf } from './machine-words.js';

/** QEMU's object `iothread`. */
export interface MachineIOThread {
  readonly id: string;
  readonly 'poll-max-ns'?: number | undefined;
  readonly 'poll-grow'?: number | undefined;
  readonly 'poll-shrink'?: number | undefined;
}

/** QEMU's `-blockdev`, with an `id` for devices, or for windows, to name it by. */
export type MachineDrive = BlockdevOptions & { readonly id: string };

/** QEMU's device `virtio-blk-pci`. */
export interface MachineDevice {
  readonly id: string;
  /** The id of a drive. */
  readonly drive: string;
  /** The iothread that serves it; or else `iothread-vq-mapping`. */
  readonly iothread?: string | undefined;
  readonly 'iothread-vq-mapping'?:
    readonly { readonly iothread: string; readonly vqs?: readonly number[] | undefined }[] | undefined;
  readonly 'num-queues'?: number | undefined;
  readonly 'queue-size'?: number | undefined;
  readonly serial?: string | undefined;
  readonly 'logical-block-size'?: number | undefined;
  readonly werror?: WriteErrorPolicy | 'auto' | undefined;
  readonly rerror?: ReadErrorPolicy | 'auto' | undefined;
}

/** Iothreads, drives and the devices that bring them together, in QEMU's names. All of it can be JSON. */
export interface Machine {
  /** For editors: where `machine.schema.json` is. */
  readonly $schema?: string | undefined;
  readonly iothreads?: readonly MachineIOThread[] | undefined;
  readonly drives?: readonly MachineDrive[] | undefined;
  readonly devices?: readonly MachineDevice[] | undefined;
}

const { text, integer, choice, fields } = machineWords;

const id = (description: string): v.GenericSchema<unknown, string> =>
  v.pipe(text, WELL_FORMED_ID, v.description(description));

const list = <Output>(
  item: v.GenericSchema<unknown, Output>,
  description: string,
): v.GenericSchema<unknown, Output[]> =>
  v.optional(v.pipe(v.array(item, 'must be a list'), v.description(description)), []);

const iothread = fields({
  id: id('The name that devices know it by.'),
  'poll-max-ns': v.optional(
    v.pipe(
      integer(0, MAX_POLL_NS),
      v.description('The longest to poll before sleeping, nanoseconds; 0 turns polling off.'),
    ),
    DEFAULT_POLLING.pollMaxNs,
  ),
  'poll-grow': v.optional(
    v.pipe(integer(0, MAX_POLL_FACTOR), v.description('Factor by which polling grows; 0 means 2.')),
    DEFAULT_POLLING.pollGrow,
  ),
  'poll-shrink': v.optional(
    v.pipe(
      integer(0, MAX_POLL_FACTOR),
      v.description('Divisor by which polling shrinks; 0 means back to nothing at once.'),
    ),
    DEFAULT_POLLING.pollShrink,
  ),
});

/** A drive inside a raw one: it has no name, since nobody else can use it. */
export const innerDriveSchema = blockdevSchema(machineWords, {});

const drive = blockdevSchema<{ readonly id: string }>(
  machineWords,
  { id: id('The name that a device, or a raw drive, knows it by.') },
  innerDriveSchema as v.GenericSchema<unknown, BlockdevOptions<{ readonly id: string }>>,
);

const powersOfTwo: readonly number[] = Array.from({ length: 31 }, (_, exponent) => 2 ** exponent);
const queueSizes = powersOfTwo.filter((size) => size >= MIN_QUEUE_SIZE && size <= MAX_QUEUE_SIZE);

const mapping = v.pipe(
  v.array(
    fields({
      iothread: v.pipe(text, v.description('The id of an iothread.')),
      vqs: v.optional(
        v.pipe(
          v.array(integer(0, MAX_QUEUES - 1), 'must be a list'),
          // What `resolveMapping` checks, as far as a schema can say it; so everywhere below.
          v.metadata({
            description: 'Indexes of the queues that it serves.',
            minItems: 1,
            uniqueItems: true,
          }),
        ),
      ),
    }),
    'must be a list',
  ),
  v.minLength(1, 'must name at least one iothread'),
  v.metadata({
    description:
      'Which iothread serves which queues; without vqs in all of them, queues are dealt out in turn.',
    anyOf: [{ items: { required: ['vqs'] } }, { items: { not: { required: ['vqs'] } } }],
  }),
);

const device = v.pipe(
  fields({
    id: id('The name of the device.'),
    drive: v.pipe(text, v.description('The id of a drive. Each drive belongs to one device.')),
    iothread: v.optional(
      v.pipe(text, v.description('The id of the iothread that serves it; or else iothread-vq-mapping.')),
    ),
    'iothread-vq-mapping': v.optional(mapping),
    'num-queues': v.optional(v.pipe(integer(1, MAX_QUEUES), v.description('How many virtqueues it has.')), 1),
    'queue-size': v.optional(
      v.pipe(
        v.picklist(queueSizes, `must be a power of two from ${MIN_QUEUE_SIZE} to ${MAX_QUEUE_SIZE}`),
        v.description('The largest queue that its driver may set up.'),
      ),
      DEFAULT_QUEUE_SIZE,
    ),
    serial: v.optional(
      v.pipe(
        text,
        v.metadata({
          description: `What GET_ID answers, at most ${SERIAL_BYTES} bytes; default: the id, cut to fit.`,
          maxLength: SERIAL_BYTES,
        }),
      ),
    ),
    'logical-block-size': v.optional(
      v.pipe(
        v.picklist(BLOCK_SIZES, `must be ${oneOf(BLOCK_SIZES)} (bytes)`),
        v.description('The size of its blocks as the driver sees them, bytes.'),
      ),
      512,
    ),
    werror: v.optional(
      v.pipe(
        choice([...WRITE_ERROR_POLICIES, 'auto']),
        v.description(
          'What becomes of a write that the disk fails: the guest is told, or not, or the device pauses; enospc, or auto, pauses where there is no space left.',
        ),
      ),
      'auto',
    ),
    rerror: v.optional(
      v.pipe(
        choice([...READ_ERROR_POLICIES, 'auto']),
        v.description('What becomes of a read that the disk fails; auto is report.'),
      ),
      'auto',
    ),
  }),
  v.metadata({ oneOf: [{ required: ['iothread'] }, { required: ['iothread-vq-mapping'] }] }),
);

/** Checks each part of a machine; what parts have to do with each other is checked by `machineConfiguration`. */
export const machineSchema = v.pipe(
  fields({
    $schema: v.optional(v.pipe(text, v.description('Where the schema of this file is, for editors.'))),
    iothreads: list(iothread, 'Threads that serve devices.'),
    drives: list<MachineDrive>(drive, 'What the devices’ disks are made of.'),
    devices: list(device, 'Virtio-blk devices, each with a drive, on one iothread or several.'),
  }),
  v.title('Machine'),
  v.description('Iothreads, drives and virtio-blk devices, in QEMU’s names.'),
) satisfies v.GenericSchema<unknown, Machine>;

/** A machine whose parts have been checked; defaults are filled in. */
export type CheckedMachine = v.InferOutput<typeof machineSchema>;
