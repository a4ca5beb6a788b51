// What programs and tests need of the guest.
export { GUEST_READS, GUEST_SECTOR, guestSector } from './exercise.js';
export { guestProgram } from './program.js';
