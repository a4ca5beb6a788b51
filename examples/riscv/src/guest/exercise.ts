import {
  SECTOR_SIZE,
  SERIAL_BYTES,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from '@iothreads/core';
import { TIME } from '../emulator/csrs.js';
import { TIMEBASE_HZ, VIRTIO_BASE, VIRTIO_SIZE } from '../emulator/memory-map.js';
import { type Code, label, registers } from './assembler.js';
import { print } from './console.js';
import { DATA } from './disk-layout.js';
import {
  add,
  addi,
  beq,
  beqz,
  bltu,
  bne,
  bnez,
  call,
  csrr,
  divu,
  j,
  la,
  li,
  lw,
  mul,
  mv,
  sb,
  sub,
  sw,
} from './instructions.js';
import { routine } from './routine.js';
import { request } from './virtio-blk.js';

const { zero, a0, s0, s1, s2, s3, s4, t0, t1, t2, t3, t4 } = registers;

/** The sector that is written: not the first one, where partition tables are. */
export const GUEST_SECTOR = 8;
/** How many reads are timed. */
export const GUEST_READS = 1000;
const TICKS_PER_US = TIMEBASE_HZ / 1_000_000;
/** Beside the statuses that devices answer with: all went well, but the data is wrong. */
const DIFFERENT = 0x100;

/** The sector's words are a sequence of pseudo-random numbers that begins with the address of the disk's registers. */
const FACTOR = 1_664_525;
const INCREMENT = 1_013_904_223;

/** What the guest writes to the disk at place `index`, 0 to 7. */
export function guestSector(index: number): Uint8Array {
  const words = new Uint32Array(SECTOR_SIZE / 4);
  let word = VIRTIO_BASE + index * VIRTIO_SIZE;
  for (let i = 0; i < words.length; i++) {
    word = Math.imul(word, FACTOR) + INCREMENT;
    words[i] = word;
  }
  return new Uint8Array(words.buffer);
}

/** Does `each` with every word of the sector in memory: t0 points to it, t3 is the word that belongs there. */
const eachWord = (name: string, each: Code): Code => [
  addi(t0, s1, DATA),
  addi(t4, t0, SECTOR_SIZE),
  mv(t3, s0),
  li(t1, FACTOR),
  li(t2, INCREMENT),
  label(name),
  mul(t3, t3, t1),
  add(t3, t3, t2),
  each,
  addi(t0, t0, 4),
  bltu(t0, t4, name),
];

/** What the guest does with each disk, `exercise`: s0 and s1 say which, as for its driver; s2 counts what goes wrong. */
export const exerciseRoutines: Code = [
  routine(
    'exercise',
    mv(a0, s0),
    call('printHex'),
    print(': virtio-blk, '),
    call('capacity'),
    call('printDecimal'),
    print(' sectors\n'),
    call('start'),
    bnez(a0, 'exercise.started'),
    print('  it refuses to start\n'),
    addi(s2, s2, 1),
    j('exercise.end'),
    label('exercise.started'),

    print('  serial: '),
    request(VIRTIO_BLK_T_GET_ID, 0, SERIAL_BYTES),
    bnez(a0, 'exercise.serial'),
    // One of 20 bytes has no NUL at its end.
    sb(zero, s1, DATA + SERIAL_BYTES),
    addi(a0, s1, DATA),
    call('print'),
    print(', '),
    li(a0, 0),
    label('exercise.serial'),
    call('report'),

    print(`  write sector ${GUEST_SECTOR}: `),
    eachWord('exercise.fill', sw(t3, t0, 0)),
    request(VIRTIO_BLK_T_OUT, GUEST_SECTOR, SECTOR_SIZE),
    call('report'),

    print('  flush: '),
    request(VIRTIO_BLK_T_FLUSH, 0, 0),
    call('report'),

    print('  read it back: '),
    eachWord('exercise.clear', sw(zero, t0, 0)),
    request(VIRTIO_BLK_T_IN, GUEST_SECTOR, SECTOR_SIZE),
    bnez(a0, 'exercise.compared'),
    li(a0, DIFFERENT),
    eachWord('exercise.compare', [lw(s3, t0, 0), bne(s3, t3, 'exercise.compared')]),
    li(a0, 0),
    label('exercise.compared'),
    call('report'),

    print(`  ${GUEST_READS} reads: `),
    li(s3, GUEST_READS),
    csrr(s4, TIME),
    label('exercise.reads'),
    request(VIRTIO_BLK_T_IN, GUEST_SECTOR, SECTOR_SIZE),
    bnez(a0, 'exercise.timed'),
    addi(s3, s3, -1),
    bnez(s3, 'exercise.reads'),
    csrr(a0, TIME),
    sub(a0, a0, s4),
    li(t0, GUEST_READS * TICKS_PER_US),
    divu(a0, a0, t0),
    call('printDecimal'),
    print(' us each, '),
    li(a0, 0),
    label('exercise.timed'),
    call('report'),

    call('stop'),
    label('exercise.end'),
  ),

  // a0: how a request went.
  routine(
    'report',
    la(t0, { text: 'ok\n' }),
    beqz(a0, 'report.print'),
    addi(s2, s2, 1),
    [
      { status: VIRTIO_BLK_S_IOERR, text: 'I/O error\n' },
      { status: VIRTIO_BLK_S_UNSUPP, text: 'not supported\n' },
      { status: DIFFERENT, text: 'not what was written\n' },
    ].map(({ status, text }) => [la(t0, { text }), li(t1, status), beq(a0, t1, 'report.print')]),
    la(t0, { text: 'no answer, the device is broken\n' }),
    label('report.print'),
    mv(a0, t0),
    call('print'),
  ),
];
