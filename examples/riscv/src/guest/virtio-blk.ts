import {
  DESCRIPTOR_BYTES,
  MMIO_CONFIG,
  MMIO_CONFIG_GENERATION,
  MMIO_DEVICE_FEATURES,
  MMIO_DEVICE_FEATURES_SEL,
  MMIO_DEVICE_ID,
  MMIO_DRIVER_FEATURES,
  MMIO_DRIVER_FEATURES_SEL,
  MMIO_MAGIC,
  MMIO_MAGIC_VALUE,
  MMIO_QUEUE_DESC_HIGH,
  MMIO_QUEUE_DESC_LOW,
  MMIO_QUEUE_DEVICE_HIGH,
  MMIO_QUEUE_DEVICE_LOW,
  MMIO_QUEUE_DRIVER_HIGH,
  MMIO_QUEUE_DRIVER_LOW,
  MMIO_QUEUE_NOTIFY,
  MMIO_QUEUE_READY,
  MMIO_QUEUE_SEL,
  MMIO_QUEUE_SIZE,
  MMIO_QUEUE_SIZE_MAX,
  MMIO_STATUS,
  MMIO_VERSION,
  REQUEST_HEADER_BYTES,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_ID_BLOCK,
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DRIVER,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_FEATURES_OK,
  VIRTIO_STATUS_NEEDS_RESET,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
} from '@iothreads/core';
import { MSTATUS, MSTATUS_MIE } from '../emulator/csrs.js';
import { type Code, label, type Register, registers } from './assembler.js';
import * as disk from './disk-layout.js';
import {
  add,
  addi,
  andi,
  beq,
  beqz,
  bltu,
  bne,
  bnez,
  call,
  csrrci,
  csrrsi,
  fence,
  j,
  lbu,
  lhu,
  li,
  lw,
  sb,
  sh,
  slli,
  srli,
  sw,
  wfi,
} from './instructions.js';
import { routine } from './routine.js';

const { zero, a0, a1, a2, a3, s0, s1, t0, t1 } = registers;

/** Besides what a device answers (OK, IOERR, UNSUPP): it does not answer any more. */
export const BROKEN = 0xff;

/** Reads a register of the device, which s0 points to; destination first, as in `lw`. */
const read = (rd: Register, register: number): Code => lw(rd, s0, register);

/** Writes what is in t0 … */
const write = (register: number): Code => sw(t0, s0, register);

/** … or a number that is known beforehand. */
const writeNumber = (register: number, value: number): Code => [li(t0, value), write(register)];

/** Tells the device where a part of the queue is: an address of 64 bits, of which this machine has 32. */
const writeAddress = (low: number, high: number, offset: number): Code => [
  addi(t0, s1, offset),
  write(low),
  writeNumber(high, 0),
];

/** Fills in what stays the same of a descriptor in all requests. */
const describe = (index: number, offset: number, length: number, flags: number, next: number): Code => {
  const at = disk.DESCRIPTORS + index * DESCRIPTOR_BYTES;
  return [
    addi(t0, s1, offset),
    sw(t0, s1, at + disk.DESC_ADDRESS),
    sw(zero, s1, at + disk.DESC_ADDRESS + 4),
    li(t0, length),
    sw(t0, s1, at + disk.DESC_LENGTH),
    li(t0, flags),
    sh(t0, s1, at + disk.DESC_FLAGS),
    li(t0, next),
    sh(t0, s1, at + disk.DESC_NEXT),
  ];
};

/**
 * Does a request and waits for it. a0 is its status then.
 * @param byteLength of the data, at `disk.DATA`; 0 for a request without
 */
export const request = (type: number, sector: number, byteLength: number): Code => {
  const deviceWrites = type === VIRTIO_BLK_T_IN || type === VIRTIO_BLK_T_GET_ID;
  return [
    li(a0, type),
    li(a1, sector),
    li(a2, byteLength),
    li(a3, VIRTQ_DESC_F_NEXT | (deviceWrites ? VIRTQ_DESC_F_WRITE : 0)),
    call('request'),
  ];
};

/**
 * A virtio-blk driver: s0 points to the registers of the disk it is about, s1 to the memory that it keeps for it.
 *
 * - `probe`: a0 is 1 when there is a disk, else 0
 * - `start`: a0 is 1 when it is ready for requests, else 0
 * - `capacity`: a0 is its size in sectors (of 512 bytes), the lower half of it
 * - `request`: see above
 * - `stop`: its memory is the driver's own again
 *
 * @param interrupts whether it sleeps until the device's interrupt; else it looks at the used ring all the time
 */
export const virtioBlkDriver = ({ interrupts }: { readonly interrupts: boolean }): Code => [
  // 4.2.3.1.1: is there a device at all, and is it one for us?
  routine(
    'probe',
    li(a0, 0),
    read(t0, MMIO_MAGIC_VALUE),
    li(t1, MMIO_MAGIC),
    bne(t0, t1, 'probe.end'),
    read(t0, MMIO_VERSION),
    li(t1, 2),
    bne(t0, t1, 'probe.end'),
    read(t0, MMIO_DEVICE_ID),
    li(t1, VIRTIO_ID_BLOCK),
    bne(t0, t1, 'probe.end'),
    li(a0, 1),
    label('probe.end'),
  ),

  // 3.1.1: the steps in which every driver starts every device.
  routine(
    'start',
    call('stop'),
    writeNumber(MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE),
    writeNumber(MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER),

    // The features that both know, 32 at a time. Flushes, of the lower ones; of the upper ones only bit 32, VERSION_1.
    writeNumber(MMIO_DEVICE_FEATURES_SEL, 0),
    writeNumber(MMIO_DRIVER_FEATURES_SEL, 0),
    read(t0, MMIO_DEVICE_FEATURES),
    andi(t0, t0, 1 << VIRTIO_BLK_F_FLUSH),
    write(MMIO_DRIVER_FEATURES),
    writeNumber(MMIO_DRIVER_FEATURES_SEL, 1),
    writeNumber(MMIO_DRIVER_FEATURES, 1),
    // FEATURES_OK sticks only if the device is content.
    writeNumber(MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK),
    read(t0, MMIO_STATUS),
    andi(t0, t0, VIRTIO_STATUS_FEATURES_OK),
    beqz(t0, 'start.refused'),

    // 4.2.3.2: the one queue that we use. It must be unused, and large enough.
    writeNumber(MMIO_QUEUE_SEL, 0),
    read(t0, MMIO_QUEUE_READY),
    bnez(t0, 'start.refused'),
    read(t0, MMIO_QUEUE_SIZE_MAX),
    li(t1, disk.QUEUE_SIZE),
    bltu(t0, t1, 'start.refused'),
    writeNumber(MMIO_QUEUE_SIZE, disk.QUEUE_SIZE),
    writeAddress(MMIO_QUEUE_DESC_LOW, MMIO_QUEUE_DESC_HIGH, disk.DESCRIPTORS),
    writeAddress(MMIO_QUEUE_DRIVER_LOW, MMIO_QUEUE_DRIVER_HIGH, disk.AVAIL),
    writeAddress(MMIO_QUEUE_DEVICE_LOW, MMIO_QUEUE_DEVICE_HIGH, disk.USED),
    // Both rings are empty; who polls wants no interrupts.
    li(t0, interrupts ? 0 : VIRTQ_AVAIL_F_NO_INTERRUPT),
    sh(t0, s1, disk.AVAIL),
    sh(zero, s1, disk.AVAIL_IDX),
    sh(zero, s1, disk.USED),
    sh(zero, s1, disk.USED_IDX),
    // A request is a chain: what is to be done, the data, and a byte for how it went, which the device writes.
    describe(0, disk.HEADER, REQUEST_HEADER_BYTES, VIRTQ_DESC_F_NEXT, 1),
    describe(1, disk.DATA, 0, 0, 2),
    describe(2, disk.STATUS, 1, VIRTQ_DESC_F_WRITE, 0),
    writeNumber(MMIO_QUEUE_READY, 1),

    writeNumber(
      MMIO_STATUS,
      VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK,
    ),
    li(a0, 1),
    j('start.end'),
    label('start.refused'),
    li(a0, 0),
    label('start.end'),
  ),

  // 2.5.1: the configuration may change between two reads; its generation tells.
  routine(
    'capacity',
    label('capacity.again'),
    read(t0, MMIO_CONFIG_GENERATION),
    read(a0, MMIO_CONFIG),
    read(t1, MMIO_CONFIG_GENERATION),
    bne(t0, t1, 'capacity.again'),
  ),

  // a0: type, a1: sector, a2: bytes of data, a3: flags of the data's descriptor.
  routine(
    'request',
    sw(a0, s1, disk.HEADER),
    sw(zero, s1, disk.HEADER + 4),
    sw(a1, s1, disk.HEADER + 8),
    sw(zero, s1, disk.HEADER + 12),
    li(t0, BROKEN),
    sb(t0, s1, disk.STATUS),

    // Without data the header is followed by the status at once.
    li(t0, 2),
    beqz(a2, 'request.chain'),
    sw(a2, s1, disk.DESCRIPTORS + DESCRIPTOR_BYTES + disk.DESC_LENGTH),
    sh(a3, s1, disk.DESCRIPTORS + DESCRIPTOR_BYTES + disk.DESC_FLAGS),
    li(t0, 1),
    label('request.chain'),
    sh(t0, s1, disk.DESCRIPTORS + disk.DESC_NEXT),

    // 2.7.13: the chain's head goes into the avail ring, at idx modulo the size ...
    lhu(t1, s1, disk.AVAIL_IDX),
    andi(t0, t1, disk.QUEUE_SIZE - 1),
    slli(t0, t0, 1),
    add(t0, t0, s1),
    sh(zero, t0, disk.AVAIL_RING),
    // ... and only when everything is in place, idx tells the device. It counts on for ever, in 16 bits.
    fence(),
    addi(t1, t1, 1),
    slli(t1, t1, 16),
    srli(t1, t1, 16),
    sh(t1, s1, disk.AVAIL_IDX),
    // A device that is looking at the ring anyway does not want to be told.
    fence(),
    lhu(t0, s1, disk.USED),
    andi(t0, t0, VIRTQ_USED_F_NO_NOTIFY),
    bnez(t0, 'request.wait'),
    writeNumber(MMIO_QUEUE_NOTIFY, 0),

    // Done when the used ring's idx has come as far as ours. Interrupts are off between this look and the sleep: one that
    // comes in between ends the sleep at once, and is taken after it.
    label('request.wait'),
    interrupts ? csrrci(zero, MSTATUS, MSTATUS_MIE) : [],
    lhu(t0, s1, disk.USED_IDX),
    beq(t0, t1, 'request.done'),
    // A device that has given up says so in its status, and answers no more.
    read(t0, MMIO_STATUS),
    andi(t0, t0, VIRTIO_STATUS_NEEDS_RESET),
    bnez(t0, 'request.done'),
    interrupts ? [wfi(), csrrsi(zero, MSTATUS, MSTATUS_MIE)] : [],
    j('request.wait'),
    label('request.done'),
    // Nothing that the device wrote is read before idx was.
    fence(),
    lbu(a0, s1, disk.STATUS),
  ),

  // 2.4: a reset takes as long as requests are in flight. Until the status reads 0, the device may write to memory.
  routine(
    'stop',
    sw(zero, s0, MMIO_STATUS),
    label('stop.wait'),
    read(t0, MMIO_STATUS),
    bnez(t0, 'stop.wait'),
  ),
];
