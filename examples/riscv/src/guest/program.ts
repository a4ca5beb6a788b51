import { MMIO_INTERRUPT_ACK, MMIO_INTERRUPT_STATUS } from '@iothreads/core';
import { EXTERNAL_INTERRUPT, MCAUSE, MIE, MTVEC } from '../emulator/csrs.js';
import { FINISHER_FAIL, FINISHER_PASS } from '../emulator/finisher.js';
import {
  FINISHER_BASE,
  PLIC_BASE,
  RAM_BASE,
  VIRTIO_BASE,
  VIRTIO_PLACES,
  VIRTIO_SIZE,
} from '../emulator/memory-map.js';
import { PLIC_CLAIM, PLIC_ENABLE, PLIC_PRIORITY } from '../emulator/plic.js';
import { assemble, type Code, label, registers } from './assembler.js';
import { consoleRoutines, print } from './console.js';
import { DISK_BYTES } from './disk-layout.js';
import { exerciseRoutines } from './exercise.js';
import {
  add,
  addi,
  beqz,
  bge,
  bltu,
  call,
  csrr,
  csrw,
  j,
  la,
  li,
  lw,
  mret,
  mul,
  mv,
  sw,
} from './instructions.js';
import { virtioBlkDriver } from './virtio-blk.js';

const { zero, sp, a0, s0, s1, s2, t0, t1, t2, t3 } = registers;

/** Behind the program: what the driver keeps for each disk, and the stack, which grows downwards. */
const DISKS = RAM_BASE + 0x8000;
const STACK = RAM_BASE + 0x1_0000;

/** Each device's line is let through, and the one from the interrupt controller. */
const enableInterrupts: Code = [
  la(t0, 'trap'),
  csrw(MTVEC, t0),
  li(t0, PLIC_BASE + PLIC_PRIORITY),
  li(t1, 1),
  Array.from({ length: VIRTIO_PLACES }, (_, place) => sw(t1, t0, 4 * (place + 1))),
  li(t0, PLIC_BASE + PLIC_ENABLE),
  li(t1, ((1 << VIRTIO_PLACES) - 1) << 1),
  sw(t1, t0, 0),
  li(t0, EXTERNAL_INTERRUPT),
  csrw(MIE, t0),
];

/** Takes an interrupt: asks the controller whose it is, tells the device that it was seen, and then the controller. */
const trapHandler: Code = [
  label('trap'),
  addi(sp, sp, -16),
  [t0, t1, t2, t3].map((register, index) => sw(register, sp, index * 4)),
  csrr(t0, MCAUSE),
  bge(t0, zero, 'trap.fault'),
  li(t0, PLIC_BASE + PLIC_CLAIM),
  lw(t1, t0, 0),
  beqz(t1, 'trap.end'),
  li(t2, VIRTIO_SIZE),
  mul(t2, t2, t1),
  li(t3, VIRTIO_BASE - VIRTIO_SIZE),
  add(t2, t2, t3),
  lw(t3, t2, MMIO_INTERRUPT_STATUS),
  sw(t3, t2, MMIO_INTERRUPT_ACK),
  sw(t1, t0, 0),
  label('trap.end'),
  [t0, t1, t2, t3].map((register, index) => lw(register, sp, index * 4)),
  addi(sp, sp, 16),
  mret(),

  // Not an interrupt: something is wrong with this program.
  label('trap.fault'),
  li(t1, (2 << 16) | FINISHER_FAIL),
  j('exit'),
];

/**
 * The guest: looks for disks, writes a sector of each, reads it back, and says how that went. Its exit code is 0 when all went
 * well, 1 when something did not.
 * @param interrupts whether its driver sleeps until the disks' interrupts; else it polls
 */
export const guestProgram = (options: { readonly interrupts: boolean }): Uint8Array =>
  assemble(RAM_BASE, [
    li(sp, STACK),
    options.interrupts ? enableInterrupts : [],
    print(`A RISC-V guest looks for disks, and ${options.interrupts ? 'waits for interrupts' : 'polls'}\n`),
    li(s2, 0),
    li(s0, VIRTIO_BASE),
    li(s1, DISKS),
    label('next'),
    call('probe'),
    beqz(a0, 'skip'),
    call('exercise'),
    label('skip'),
    li(t0, VIRTIO_SIZE),
    add(s0, s0, t0),
    addi(s1, s1, DISK_BYTES),
    li(t0, VIRTIO_BASE + VIRTIO_PLACES * VIRTIO_SIZE),
    bltu(s0, t0, 'next'),

    mv(a0, s2),
    call('printDecimal'),
    print(' errors\n'),
    li(t1, FINISHER_PASS),
    beqz(s2, 'exit'),
    li(t1, (1 << 16) | FINISHER_FAIL),
    label('exit'),
    li(t0, FINISHER_BASE),
    sw(t1, t0, 0),
    j('exit'),

    exerciseRoutines,
    virtioBlkDriver(options),
    consoleRoutines,
    options.interrupts ? trapHandler : [],
  ]);
