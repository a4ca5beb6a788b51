import { Machine } from './emulator/index.js';
import { guestProgram } from './guest/index.js';
void Machine; void guestProgram;
