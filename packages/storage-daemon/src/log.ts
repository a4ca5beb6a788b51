import { writeSync } from 'node:fs';
import { oneLine } from './describe-error.js';
import { PROGRAM } from './program.js';

export type LogLevel = 'info' | 'warning' | 'error';

/** Writes one line to where the log goes. */
export type LogSink = (line: string) => void;

const STDERR = 2;
export const LINES_PER_SECOND = 20;
/** Characters of one line: some of it is others' text. */
export const MAX_LINE_LENGTH = 2000;

/** Lines with a level on stderr. */
export class Log {
  readonly #sink: LogSink;
  /** Lines that could not be written since the last one that could. */
  #lost = 0;

  constructor(sink: LogSink = (line) => void writeSync(STDERR, line)) {
    this.#sink = sink;
  }

  write(level: LogLevel, message: string): void {
    this.#print(`${PROGRAM}: ${level}: ${oneLine(message)}`);
  }

  /** A mistake that ends the daemon before it has begun. */
  fatal(message: string): void {
    this.#print(`${PROGRAM}: ${oneLine(message)}`);
  }

  /** For messages that a guest or a front end can cause: so many a second, and how many were left out. */
  limited(nowMs: () => number = () => performance.now()): (level: LogLevel, message: string) => void {
    let windowMs = -Infinity;
    let written = 0;
    let suppressed = 0;
    return (level, message) => {
      const now = nowMs();
      if (now - windowMs >= 1000) {
        windowMs = now;
        written = 0;
      }
      if (written >= LINES_PER_SECOND) {
        suppressed++;
        return;
      }
      written++;
      this.write(level, suppressed === 0 ? message : `${message} (${suppressed} messages before left out)`);
      suppressed = 0;
    };
  }

  #print(line: string): void {
    const shown = line.length > MAX_LINE_LENGTH ? `${line.slice(0, MAX_LINE_LENGTH)}…` : line;
    const lost = this.#lost === 0 ? '' : `${PROGRAM}: warning: ${this.#lost} lines could not be written\n`;
    try {
      this.#sink(`${lost}${shown}\n`);
      this.#lost = 0;
    } catch {
      // A log that nobody reads any more, or a pipe that is full: no reason to stop serving disks.
      this.#lost++;
    }
  }
}
