import { readdirSync, readFileSync } from 'node:fs';

/** Descriptors that a process has open; this one by default. */
export const openFds = (pid: number | 'self' = 'self'): number => readdirSync(`/proc/${pid}/fd`).length;

/** Mappings of guest memory that a process has. */
export const guestMappings = (pid: number | 'self' = 'self'): number =>
  readFileSync(`/proc/${pid}/maps`, 'utf8')
    .split('\n')
    .filter((line) => line.includes('memfd:guest-memory')).length;

/** Those of them that a core dump would not have. */
export const undumpedGuestMappings = (): number =>
  readFileSync('/proc/self/smaps', 'utf8')
    .split(/\n(?=[\da-f]+-[\da-f]+ )/)
    .filter((mapping) => mapping.includes('memfd:guest-memory') && /^VmFlags:.* dd\b/m.test(mapping)).length;
