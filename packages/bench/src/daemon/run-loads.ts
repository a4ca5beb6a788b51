import { clearEventfd, waitReadable } from '@iothreads/linux';
import type { ClientFigures, ClientLoad } from './client.js';
import type { Client } from './daemon-results.js';
import type { QueueLoad } from './queue-load.js';

/** Against hangs: no interrupt is so late. */
const INTERRUPT_MS = 20_000;

const nowNs = (): number => performance.now() * 1e6;

/**
 * Keeps all loads going on this thread, which does nothing else meanwhile: it warms up, and measures then.
 * @returns figures of each
 */
export function runLoads(
  loads: readonly QueueLoad[],
  { client, warmUpMs, runtimeMs }: ClientLoad,
): ClientFigures[] {
  runFor(loads, client, warmUpMs);
  for (const load of loads) load.reset();
  const seconds = runFor(loads, client, runtimeMs);
  return loads.map((load) => load.figures(seconds));
}

/** @returns seconds that it took */
function runFor(loads: readonly QueueLoad[], client: Client, ms: number): number {
  for (const { queue } of loads) queue.driver.queue.disableInterrupts();
  const beganNs = nowNs();
  const endNs = beganNs + ms * 1e6;
  let now = beganNs;
  for (const load of loads) load.fill(now);
  do {
    wait(loads, client);
    for (const load of loads) {
      if (!load.queue.driver.queue.hasUsed()) continue;
      now = nowNs();
      load.reap(now);
      load.fill(now);
    }
  } while (now < endNs);
  while (loads.some(({ inFlight }) => inFlight > 0)) {
    wait(loads, client);
    for (const load of loads) load.reap(nowNs());
  }
  return (now - beganNs) / 1e9;
}

/** Until something has completed: watching the rings, or asleep until the interrupt. */
function wait(loads: readonly QueueLoad[], client: Client): void {
  if (client === 'poll') {
    while (!anyUsed(loads));
    return;
  }
  if (anyUsed(loads)) return;
  while (!enableInterrupts(loads)) {
    const callFds = loads.map(({ queue }) => queue.callFd);
    if (!waitReadable(callFds, INTERRUPT_MS)) throw new Error('an interrupt never came');
    for (const callFd of callFds) clearEventfd(callFd);
  }
  for (const { queue } of loads) queue.driver.queue.disableInterrupts();
}

function anyUsed(loads: readonly QueueLoad[]): boolean {
  for (const { queue } of loads) if (queue.driver.queue.hasUsed()) return true;
  return false;
}

/** @returns whether something has completed meanwhile, for which there may be no interrupt */
function enableInterrupts(loads: readonly QueueLoad[]): boolean {
  let used = false;
  for (const { queue } of loads) if (queue.driver.queue.enableInterrupts()) used = true;
  return used;
}
