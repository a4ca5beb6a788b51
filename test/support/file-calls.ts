import { IOThreadRuntime } from '@iothreads/iothread';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fixture } from './fixture.js';

/** A runtime that logs its writes and flushes of files, and an image in a directory of its own. */
export class FileCalls implements AsyncDisposable {
  readonly filename: string;
  readonly runtime: IOThreadRuntime;
  readonly #directory: string;
  readonly #log: string;

  constructor() {
    this.#directory = mkdtempSync(join(tmpdir(), 'iothreads-file-calls-'));
    this.filename = join(this.#directory, 'disk.img');
    this.#log = join(this.#directory, 'calls.log');
    writeFileSync(this.filename, new Uint8Array(1 << 20));
    writeFileSync(this.#log, '');
    process.env['IOTHREADS_TEST_LOG'] = this.#log;
    this.runtime = new IOThreadRuntime({ workerUrl: new URL(fixture('fs-logging-worker.mjs')) });
  }

  /** In the order in which calls began, `write` and `flush disk.img`, and ended, `writeEnd` and `flushEnd`. */
  get lines(): string[] {
    return readFileSync(this.#log, 'utf8').split('\n').slice(0, -1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.runtime.close();
    delete process.env['IOTHREADS_TEST_LOG'];
    rmSync(this.#directory, { recursive: true });
  }
}
