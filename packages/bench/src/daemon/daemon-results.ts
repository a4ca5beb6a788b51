/** Whose daemon. */
export type Side = 'qemu' | 'ours';
export const SIDES: readonly Side[] = ['qemu', 'ours'];

/** How the client learns of completions: asleep until the call eventfd, or watching the used ring. */
export type Client = 'event' | 'poll';

/** What one stream of requests was like, medians over its rounds. */
export interface StreamFigures {
  readonly iops: number;
  readonly mean_us: number;
  readonly p99_us: number;
  readonly max_us: number;
  /** Processor time of the daemon a request, µs. */
  readonly cpu_us: number;
}

type BothFigures = Readonly<Record<Side, StreamFigures>>;

/** One disk, one kind of client and request, one queue depth: both daemons. */
export interface DaemonCell extends BothFigures {
  readonly disk: string;
  readonly client: Client;
  readonly operation: 'read' | 'write';
  readonly depth: number;
}

/** A device at depth 1 beside a neighbour on the same iothread. */
export interface NeighbourCell extends BothFigures {
  readonly neighbour: string;
  /** Requests that our daemon did synchronously there, on both exports. */
  readonly sync: number;
}

export interface Footprint {
  /** From the command to a socket that takes connections, ms. */
  readonly start_ms: number;
  /** Resident with one export after load, and what each further idle one adds, MiB. */
  readonly resident_mib: number;
  readonly export_mib: number;
}

/** What `--json` writes. */
export interface DaemonBenchResult {
  readonly cells: readonly DaemonCell[];
  readonly neighbours: readonly NeighbourCell[];
  readonly footprint: Readonly<Record<Side, Footprint>>;
  readonly qemu_version: string;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Figure by figure. */
export function medians(rounds: readonly StreamFigures[]): StreamFigures {
  const of = (pick: (figures: StreamFigures) => number): number => median(rounds.map(pick));
  return {
    iops: of(({ iops }) => iops),
    mean_us: of(({ mean_us }) => mean_us),
    p99_us: of(({ p99_us }) => p99_us),
    max_us: of(({ max_us }) => max_us),
    cpu_us: of(({ cpu_us }) => cpu_us),
  };
}
