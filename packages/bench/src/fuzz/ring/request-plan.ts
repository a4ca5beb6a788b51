import type { Random } from '../../stress/random.js';
import { DATA_REGION, FAR_REGION, RING_REGION, SECOND_DATA_REGION } from './guest-ram.js';
import { HEADERS, STATUSES } from './ring-case.js';
import { DISK_SECTORS } from './reference-device.js';

/** A buffer of a chain; the address as one number. */
interface Piece {
  readonly address: number;
  readonly byteLength: number;
  readonly writable: boolean;
}

/** A request before it is laid out as descriptors: its buffers, and the words in them. */
export interface RequestPlan {
  readonly pieces: Piece[];
  readonly words: (readonly [at: number, value: number])[];
}

const IN = 0;
const OUT = 1;
const FLUSH = 4;
const GET_ID = 8;
const DISCARD = 11;
const WRITE_ZEROES = 13;
const TYPES = [IN, IN, IN, IN, OUT, OUT, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES];
const ODD_TYPES = [2, 3, 5, 7, 9, 10, 12, 14, 15, 16, 255, 256, 0x7fff_ffff, 0xffff_ffff];

const SLOTS = 16;
const HEADER_BYTES = 24;
/** Where data may be: buffers of at most four sectors end within these, or in what adjoins them. */
const DATA_AREAS = [
  [DATA_REGION, 0x7e0],
  [SECOND_DATA_REGION, 0],
  [FAR_REGION, 0],
  // Over the seam of two regions.
  [RING_REGION + 0x1000 - 0x100, 0xff],
] as const;

/** A request as good drivers make them, in one of the many framings that are allowed. @param slot of its header and status */
export function planRequest(random: Random, slot: number): RequestPlan {
  const type = random.pick(TYPES);
  const sectors = random.below(5);
  const sector = random.below(DISK_SECTORS + 1 - sectors);
  const header = HEADERS + (slot % SLOTS) * HEADER_BYTES;
  const status: Piece = { address: STATUSES + (slot % SLOTS) * 4, byteLength: 1, writable: true };
  const data = dataAddress(random);
  const plan: RequestPlan = { pieces: [], words: [] };
  if (type === OUT && random.chance(0.2)) {
    // Header and data in one buffer.
    headerAt(plan, data, type, sector);
    plan.pieces.push({ address: data, byteLength: 16 + sectors * 512, writable: false }, status);
    return plan;
  }
  headerAt(plan, header, type, type === IN || type === OUT ? sector : 0);
  plan.pieces.push({ address: header, byteLength: 16, writable: false });
  if (type === IN || type === OUT) {
    // The status at the end of the data.
    const joined = type === IN && random.chance(0.2) ? 1 : 0;
    plan.pieces.push({ address: data, byteLength: sectors * 512 + joined, writable: type === IN });
    if (joined === 1) return plan;
  } else if (type === GET_ID) plan.pieces.push({ address: data, byteLength: 20, writable: true });
  else if (type === DISCARD || type === WRITE_ZEROES) {
    plan.words.push([data, sector], [data + 4, 0], [data + 8, sectors]);
    plan.words.push([data + 12, type === WRITE_ZEROES ? random.below(2) : 0]);
    plan.pieces.push({ address: data, byteLength: 16, writable: false });
  }
  plan.pieces.push(status);
  return plan;
}

function headerAt({ words }: RequestPlan, at: number, type: number, sector: number): void {
  words.push([at, type], [at + 4, 0], [at + 8, sector], [at + 12, 0]);
}

function dataAddress(random: Random): number {
  const [start, room] = random.pick(DATA_AREAS);
  return start + (room === 0 ? 0 : random.below(room));
}

/** Cuts buffers in pieces, as drivers with scattered memory have them. */
export function split(random: Random, { pieces }: RequestPlan): void {
  const cuts = 1 + random.below(4);
  for (let i = 0; i < cuts; i++) {
    const at = random.below(pieces.length);
    const { address, byteLength, writable } = pieces[at]!;
    const first = random.below(byteLength + 1);
    pieces.splice(
      at,
      1,
      { address, byteLength: first, writable },
      { address: address + first, byteLength: byteLength - first, writable },
    );
  }
}

/** Makes a mistake in what a request says, or in how much of it there is. */
export function spoil(random: Random, { pieces, words }: RequestPlan): void {
  const word = random.below(words.length);
  const piece = random.below(pieces.length);
  switch (random.below(8)) {
    case 0:
      words[0] = [words[0]![0], random.chance(0.5) ? random.pick(TYPES) : random.pick(ODD_TYPES)];
      return;
    case 1:
      words[0] = [words[0]![0], (words[0]![1] | 0x8000_0000) >>> 0];
      return;
    case 2:
    case 3:
      words[word] = [words[word]![0], oddNumber(random)];
      return;
    case 4:
      pieces[piece] = { ...pieces[piece]!, writable: !pieces[piece]!.writable };
      return;
    case 5:
      pieces[piece] = { ...pieces[piece]!, byteLength: random.pick(LENGTHS) };
      return;
    case 6:
      pieces.splice(piece, 1);
      if (pieces.length === 0) pieces.push({ address: STATUSES, byteLength: 1, writable: true });
      return;
    default:
      pieces.splice(piece, 0, { ...random.pick(pieces) });
  }
}

const LENGTHS = [0, 1, 15, 16, 17, 19, 20, 21, 31, 32, 48, 511, 512, 513, 1024, 1536, 2048];

/** Numbers at which checks tip over: of sectors, counts, flags. */
export function oddNumber(random: Random): number {
  switch (random.below(4)) {
    case 0:
      return random.below(DISK_SECTORS + 4);
    case 1:
      return (2 ** random.below(32) - random.below(2)) >>> 0;
    case 2:
      return (0x1_0000_0000 - random.below(40)) >>> 0;
    default:
      return random.below(0x1_0000_0000);
  }
}
