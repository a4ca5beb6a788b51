import { readdirSync, readFileSync } from 'node:fs';

/** What a process holds on to. */
export interface ProcessFigures {
  readonly fds: number;
  readonly mappings: number;
  readonly threads: number;
  /** What keeps the loop of this process alive; 0 of others, which nobody can ask. */
  readonly handles: number;
}

/** @param pid a process id, or `self` */
export function figuresOf(pid: number | 'self'): ProcessFigures {
  const directory = `/proc/${pid}`;
  return {
    fds: readdirSync(`${directory}/fd`).length,
    // Of guests, and of what is in flight: those of V8 and of the allocator come and go.
    mappings: readFileSync(`${directory}/maps`, 'utf8')
      .split('\n')
      .filter((line) => line.includes('memfd:')).length,
    threads: readdirSync(`${directory}/task`).filter((task) => !isKernels(`${directory}/task/${task}`))
      .length,
    handles: pid === 'self' ? handles() : 0,
  };
}

/** MiB of memory that a process has, what it shares with others included. @param pid a process id, or `self` */
export function residentMib(pid: number | 'self'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) / 1024;
}

/** The kernel's own threads for an io_uring come and go as it likes. */
function isKernels(task: string): boolean {
  try {
    return readFileSync(`${task}/comm`, 'utf8').startsWith('iou-');
  } catch {
    // Gone meanwhile.
    return true;
  }
}

/** Timers and immediates come and go with whatever goes on. */
const handles = (): number =>
  process.getActiveResourcesInfo().filter((what) => what !== 'Timeout' && what !== 'Immediate').length;
