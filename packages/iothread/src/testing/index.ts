/**
 * What benches and tests may do and nobody else should: overrule the dispatcher, and look into a request's life.
 *
 * @packageDocumentation
 */
import type { IOThreadRuntime } from '../control/runtime.js';
import type { DispatchMode } from '../worker/dispatcher.js';
import { RequestTrace } from '../worker/request-trace.js';

export type { DispatchMode } from '../worker/dispatcher.js';
export { TraceMoment } from '../worker/request-trace.js';

/** Makes a device do everything synchronously (if its disk can), or asynchronously, or as the dispatcher thinks best. */
export async function forceDispatch(runtime: IOThreadRuntime, id: string, mode: DispatchMode): Promise<void> {
  await runtime.device(id).setDispatchMode(mode);
}

/** Marks the moments of the device's requests. @returns nanoseconds by `TraceMoment`, of the request served last */
export async function traceRequests(runtime: IOThreadRuntime, id: string): Promise<Float64Array> {
  const buffer = RequestTrace.createBuffer();
  await runtime.device(id).setTrace(buffer);
  return new Float64Array(buffer);
}
