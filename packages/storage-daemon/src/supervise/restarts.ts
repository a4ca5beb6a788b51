/** Restarts that are told of one by one; all are counted. */
export const MAX_RECENT = 16;

/** Why and when a daemon was started again. */
export interface Restart {
  /** Milliseconds since 1970. */
  readonly timeMs: number;
  /** `SIGKILL`, `status 1`, … */
  readonly reason: string;
}

/** What one daemon knows of those before it. */
export interface Restarts {
  readonly count: number;
  /** The latest ones, oldest first. */
  readonly recent: readonly Restart[];
}

export const NO_RESTARTS: Restarts = { count: 0, recent: [] };

export function withRestart({ count, recent }: Restarts, restart: Restart): Restarts {
  return { count: count + 1, recent: [...recent, restart].slice(-MAX_RECENT) };
}
