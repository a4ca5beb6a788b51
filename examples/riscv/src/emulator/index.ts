// What programs and tests need of the emulator.
export { Machine } from './machine.js';
