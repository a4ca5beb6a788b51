import { closeSync, fstatSync, openSync, read, readSync } from 'node:fs';

type Done = (data: Uint8Array) => void;

/** What v86's IDE disk wants of an image, for reading: an object of this shape goes where it takes a file's URL. */
export class IdeDrive implements Disposable {
  readonly byteLength: number;
  onload: ((event: object) => void) | undefined;
  readonly #fd: number;
  readonly #sync: boolean;
  #firstSector: Uint8Array | undefined;

  /** @param sync whether it reads at once, in the emulator's thread, or through libuv's threads */
  constructor(filename: string, sync: boolean) {
    this.#fd = openSync(filename, 'r');
    this.byteLength = fstatSync(this.#fd).size;
    this.#sync = sync;
  }

  load(): void {
    this.onload?.({});
  }

  get(start: number, byteLength: number, done: Done): void {
    const data = new Uint8Array(byteLength);
    if (this.#sync) {
      readSync(this.#fd, data, 0, byteLength, start);
      done(data);
      return;
    }
    read(this.#fd, data, 0, byteLength, start, (error) => {
      if (error !== null) throw error;
      done(data);
    });
  }

  set(): void {
    throw new Error('the image is read only');
  }

  /** v86 looks for a partition table once. */
  get_and_cache(start: number, byteLength: number, done: Done): void {
    this.get(start, byteLength, (data) => {
      this.#firstSector = data;
      done(data);
    });
  }

  get_from_cache(): Uint8Array | undefined {
    return this.#firstSector;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}
