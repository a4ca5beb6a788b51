import { VIRTIO_BLK_S_OK, type BlockRequest, type BlockStatus } from '@iothreads/core';
import type { BlockDriver, BlockGeometry } from '../block-driver.js';
import type { PreparedDrive } from '../block-driver-type.js';
import { failRequest } from '../driver-error-channel.js';
import { CallSequence } from './call-sequence.js';
import { FileTransfer } from './file-transfer.js';
import { type FlatMemory, ImageFile, type FileDriverState } from './image-file.js';
import { callNode } from './node-calls.js';
import { zeroChunk } from './file-limits.js';

/** Makes a sequence's call and waits for it. @returns bytes that it moved @throws an error with the errno name as its `code` */
type SyncCall = (sequence: CallSequence) => number;

/**
 * A raw image: byte n of the disk is byte `offset` + n of the file. The synchronous way is pread(2) and pwrite(2) on the
 * iothread, the asynchronous way the same calls on libuv's thread pool; both straight between the file and the guest's memory.
 *
 * By itself it is made of Node.js's own functions, which have nothing for holes: DISCARD succeeds and does nothing.
 */
export class FileDriver implements BlockDriver {
  readonly geometry: BlockGeometry;
  readonly image: ImageFile;
  readonly #call: SyncCall;
  readonly #sequence = new CallSequence();
  readonly #bounceForSync = (): FlatMemory => this.image.direct!.bounceForSync();
  readonly #idle: FileTransfer[] = [];
  readonly #release = (transfer: FileTransfer): void => {
    this.#idle.push(transfer);
  };

  constructor(
    prepared: PreparedDrive<FileDriverState>,
    image: ImageFile = new ImageFile(prepared, false, zeroChunk),
    call: SyncCall = callNode,
  ) {
    this.geometry = prepared.geometry;
    this.image = image;
    this.#call = call;
  }

  executeSync(request: BlockRequest): BlockStatus {
    const settled = this.image.settle(request.operation);
    if (settled !== undefined) return settled;
    const sequence = this.#sequence;
    sequence.start(this.image, request);
    sequence.bounce = undefined;
    sequence.takeBounce(this.#bounceForSync);
    let failure: unknown;
    while (failure === undefined) {
      try {
        if (!sequence.next()) return VIRTIO_BLK_S_OK;
        failure = sequence.done(this.#call(sequence));
      } catch (error) {
        if (!sequence.failed((error as NodeJS.ErrnoException).code ?? '')) failure = error;
      }
    }
    return failRequest('file', request, failure);
  }

  submit(requests: readonly BlockRequest[], count: number): void {
    for (let i = 0; i < count; i++) {
      const request = requests[i]!;
      const settled = this.image.settle(request.operation);
      if (settled !== undefined) {
        request.complete(request.tag, settled);
        continue;
      }
      const transfer = this.#idle.pop() ?? new FileTransfer(this.image, this.#call, this.#release);
      transfer.start(request);
    }
  }

  /** The file stays open: it is the held drive's. */
  async close(): Promise<void> {}
}
