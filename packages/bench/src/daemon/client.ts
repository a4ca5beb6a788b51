import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Client } from './daemon-results.js';

/** What a client process is asked to do; it answers each with one message. */
export type ClientTask =
  | { readonly what: 'connect'; readonly sockets: readonly string[] }
  | { readonly what: 'run'; readonly load: ClientLoad }
  | { readonly what: 'close' };

export interface ClientLoad {
  readonly client: Client;
  readonly operation: 'read' | 'write';
  /** Requests in flight, on the disk of each socket. */
  readonly depths: readonly number[];
  /** Not measured, and then measured. */
  readonly warmUpMs: number;
  readonly runtimeMs: number;
}

/** What a run was like, as the client sees it. */
export interface ClientFigures {
  readonly requests: number;
  readonly seconds: number;
  readonly meanUs: number;
  readonly p99Us: number;
  readonly maxUs: number;
}

type Answer = { readonly error: string } | { readonly figures?: readonly ClientFigures[] };

/** Against hangs: a request that never completes would leave the client asleep for ever. */
const DEADLINE_MS = 60_000;

/**
 * A virtual machine's side in a process of its own: a front end for each socket, and one thread that looks after all of them.
 * More threads than cores would measure the scheduler.
 */
export class ClientProcess {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async connect(...sockets: string[]): Promise<ClientProcess> {
    const child = fork(fileURLToPath(new URL('./client-main.js', import.meta.url)), [], { stdio: 'inherit' });
    const client = new ClientProcess(child);
    await client.#ask({ what: 'connect', sockets });
    return client;
  }

  /** @returns figures for each socket, in order */
  async run(load: ClientLoad): Promise<readonly ClientFigures[]> {
    const answer = await this.#ask({ what: 'run', load });
    return answer.figures!;
  }

  async close(): Promise<void> {
    await this.#ask({ what: 'close' }).catch(() => undefined);
    this.#child.kill('SIGKILL');
  }

  #ask(task: ClientTask): Promise<{ readonly figures?: readonly ClientFigures[] }> {
    return new Promise((resolve, reject) => {
      const child = this.#child;
      const end = (settle: () => void): void => {
        clearTimeout(timer);
        child.off('message', onMessage);
        child.off('exit', onExit);
        settle();
      };
      const onMessage = (message: unknown): void => {
        const answer = message as Answer;
        end(() => {
          if ('error' in answer) reject(new Error(answer.error));
          else resolve(answer);
        });
      };
      const onExit = (): void => {
        end(() => {
          reject(new Error('the client process has ended'));
        });
      };
      const timer = setTimeout(() => {
        end(() => {
          child.kill('SIGKILL');
          reject(new Error('the daemon left a request unanswered for a minute'));
        });
      }, DEADLINE_MS);
      child.once('message', onMessage);
      child.once('exit', onExit);
      child.send(task);
    });
  }
}
