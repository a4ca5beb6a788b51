/**
 * Moments in the life of the request served last, in shared memory: what the breakdown of an asynchronous request is made
 * from. Only benches switch it on, with one request in flight at a time.
 */
export const TraceMoment = {
  WOKEN: 0,
  POPPED: 1,
  SUBMITTED: 2,
  COMPLETED: 3,
  PUBLISHED: 4,
} as const;
export type TraceMoment = (typeof TraceMoment)[keyof typeof TraceMoment];

export class RequestTrace {
  readonly #moments: Float64Array;
  readonly #nowNs: () => number;

  static createBuffer(): SharedArrayBuffer {
    return new SharedArrayBuffer(8 * Object.keys(TraceMoment).length);
  }

  constructor(buffer: SharedArrayBuffer, nowNs: () => number) {
    this.#moments = new Float64Array(buffer);
    this.#nowNs = nowNs;
  }

  mark(moment: TraceMoment): void {
    this.markAt(moment, this.#nowNs());
  }

  markAt(moment: TraceMoment, ns: number): void {
    this.#moments[moment] = ns;
  }
}
