// The daemon is killed with requests in flight, and another one takes its place: nothing is lost, nothing is done out of turn.
import { expect, test } from 'vitest';
import { GenerationLoad } from '../support/generations.js';
import { randomIntegers, seed, seeded } from '../support/random.js';
import { until, within } from '../support/within.js';
import { DEPTH, KilledDaemon, NUM_QUEUES } from './support/killed-daemon.js';

const TASKS = DEPTH * NUM_QUEUES;
const SECTORS_PER_TASK = 64;
const SIZE_BYTES = TASKS * SECTORS_PER_TASK * 512;

const newLoad = (daemon: KilledDaemon): GenerationLoad =>
  new GenerationLoad(daemon.queues, TASKS, SECTORS_PER_TASK, { onlyWrites: true });

/** Resolves when everybody has read back what was written, and nothing is in flight any more. */
async function settle(daemon: KilledDaemon, load: GenerationLoad): Promise<void> {
  await within(
    load.stop(),
    'the end of the load',
    () => `in flight: ${[...daemon.inFlight(0), 'and', ...daemon.inFlight(1)].join(' ')}; ${daemon.log}`,
  );
  for (let queue = 0; queue < NUM_QUEUES; queue++) expect(daemon.inFlight(queue)).toEqual([]);
}

for (const [name, options, kills, supervised] of [
  ['io_uring', '', 20, false],
  ['threads', ',aio=threads', 15, false],
  ['cache.direct=on', ',cache.direct=on', 10, false],
  ['under a supervisor', '', 5, true],
] as const) {
  test(seeded(`${kills} kills under ${TASKS} writes in flight, ${name}`), { timeout: 300_000 }, async () => {
    await using daemon = await KilledDaemon.start(SIZE_BYTES, { options, supervised });
    const load = newLoad(daemon);
    const integer = randomIntegers(seed);
    let resubmitted = 0;
    for (let kill = 0; kill < kills; kill++) {
      load.start();
      const enough = load.requests + 1 + integer(400);
      await until('a load', () => load.requests >= enough);
      await daemon.killAndRestart(() => {
        for (let queue = 0; queue < NUM_QUEUES; queue++) resubmitted += daemon.inFlight(queue).length;
      });
      await settle(daemon, load);
    }
    // Otherwise nothing of what this is about has been tried.
    expect(resubmitted).toBeGreaterThan(kills);
  });
}

// Whether the tests above would notice: what a back end leaves behind is falsified before the next one comes.
for (const [what, falsify] of [
  [
    'that forgets a request',
    (daemon) => {
      const [lost] = daemon.inFlight(0);
      daemon.tableOf(0)[16 + lost! * 16] = 0;
    },
  ],
  [
    'that does a request which nobody has made',
    (daemon) => {
      // Beyond the heads that the front end's requests have.
      daemon.tableOf(0)[16 + 63 * 16] = 1;
    },
  ],
] satisfies [string, (daemon: KilledDaemon) => void][]) {
  test(seeded(`a recovery ${what} is noticed`), async () => {
    // Several are in flight on each queue whenever it is killed.
    await using daemon = await KilledDaemon.start(SIZE_BYTES, { delayNs: 20_000_000 });
    const load = newLoad(daemon).start();
    await until('a load', () => load.requests >= 100);
    let inFlight = 0;
    await expect(
      (async () => {
        await daemon.killAndRestart(() => {
          inFlight = daemon.inFlight(0).length;
          falsify(daemon);
        });
        await settle(daemon, load);
      })(),
    ).rejects.toThrow();
    expect(inFlight).toBeGreaterThan(1);
  });
}
