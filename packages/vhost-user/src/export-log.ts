/** How much a log line matters to an operator. */
export type LogLevel = 'info' | 'warning' | 'error';

/** Told of one export; the messages don't name it. */
export type Log = (level: LogLevel, message: string) => void;

/** Lines of each level in one period: a front end that misbehaves all the time is told of now and then. */
export const LINES = 5;
export const PERIOD_MS = 1000;

/** What an export tells its operator. Front ends cause most of it, even errors of our own by coming back to them: it is limited. */
export class ExportLog {
  readonly #log: Log;
  readonly #nowMs: () => number;
  readonly #periods = new Map<LogLevel, { startMs: number; lines: number; dropped: number }>();

  constructor(log: Log, nowMs: () => number = () => performance.now()) {
    this.#log = log;
    this.#nowMs = nowMs;
  }

  info(message: string): void {
    this.#limited('info', message);
  }

  warning(message: string): void {
    this.#limited('warning', message);
  }

  error(message: string): void {
    this.#limited('error', message);
  }

  #limited(level: LogLevel, message: string): void {
    const nowMs = this.#nowMs();
    let period = this.#periods.get(level);
    let more = '';
    if (period === undefined || nowMs - period.startMs >= PERIOD_MS) {
      if (period !== undefined && period.dropped > 0) more = ` (${period.dropped} lines before it left out)`;
      period = { startMs: nowMs, lines: 0, dropped: 0 };
      this.#periods.set(level, period);
    }
    if (period.lines >= LINES) {
      period.dropped++;
      return;
    }
    period.lines++;
    this.#log(level, `${message}${more}`);
  }
}
