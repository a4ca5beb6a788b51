import { readdirSync, readFileSync } from 'node:fs';

/** Descriptors that this process has open. */
export const openFds = (): number => readdirSync('/proc/self/fd').length;

/** Mappings of guest memory that this process has. */
export const guestMappings = (): number =>
  readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes('memfd:guest-memory')).length;

/** Those of them that a core dump would not have. */
export const undumpedGuestMappings = (): number =>
  readFileSync('/proc/self/smaps', 'utf8')
    .split(/\n(?=[\da-f]+-[\da-f]+ )/)
    .filter((mapping) => mapping.includes('memfd:guest-memory') && /^VmFlags:.* dd\b/m.test(mapping)).length;
