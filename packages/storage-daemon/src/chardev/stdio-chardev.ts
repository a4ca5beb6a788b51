import { stdin, stdout } from 'node:process';
import type { Chardev, ChardevFrontend } from './chardev.js';

/** Standard input and output: one client, there from the beginning. */
export class StdioChardev implements Chardev {
  readonly id: string;
  readonly kind = 'stdio';
  readonly description = 'stdio';
  readonly connected = true;

  constructor(id: string) {
    this.id = id;
    // Whoever read the output is gone: nobody is left to tell.
    stdout.on('error', () => undefined);
  }

  attach(frontend: ChardevFrontend): void {
    void frontend({ input: stdin, output: stdout });
  }

  close(): Promise<void> {
    stdin.destroy();
    return Promise.resolve();
  }
}
