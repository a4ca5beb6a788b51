import { type BlockStatsReport, type IOThreadRuntime, STATISTICS_KINDS } from '@iothreads/iothread';

/** What the runtime has counted for a device: of everything that the caller has seen completed. */
export async function blockStats(runtime: IOThreadRuntime, id: string): Promise<BlockStatsReport> {
  // A request is counted after its completion is shown, in the same turn: an answer from the iothread is from after it.
  await runtime.queryIOThreads();
  const report = (await runtime.queryBlockStats()).find((each) => each.id === id);
  if (report === undefined) throw new Error(`no statistics of '${id}'`);
  return report;
}

/** Over all kinds of request. */
export async function totals(
  runtime: IOThreadRuntime,
  id: string,
): Promise<{ operations: number; sync: number; async: number; errors: number }> {
  const report = await blockStats(runtime, id);
  const sum = { operations: 0, sync: 0, async: 0, errors: 0 };
  for (const kind of STATISTICS_KINDS) {
    sum.operations += report[kind].operations;
    sum.sync += report[kind].sync;
    sum.async += report[kind].async;
    sum.errors += report[kind].errors;
  }
  return sum;
}

/** Who may do synchronous I/O, by iothread. */
export async function syncAllowed(runtime: IOThreadRuntime): Promise<Record<string, boolean>> {
  const reports = await runtime.queryIOThreads();
  return Object.fromEntries(reports.map((report) => [report.id, report.syncAllowed]));
}
