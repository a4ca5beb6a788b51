import { BlockOperation, type BlockRequest } from '@iothreads/core';
import { BlockDriverError } from '../block-driver.js';
import { Counter, FaultMemory } from './fault-memory.js';
import { MAX_FAULT_COUNT } from './fault-limits.js';
import type { CheckedRule } from './fault-rule.js';

/** What happens to a request. */
export interface Fault {
  readonly hang: boolean;
  readonly delayMs: number;
  readonly shortBytes: number;
  /** undefined: it does not fail. */
  readonly error: BlockDriverError | undefined;
  /** Of the rules that say so. */
  readonly generation: number;
}

interface Rule extends CheckedRule, Fault {}

/** Attempts to read, or to apply, rules that change meanwhile: each has seen another change. */
const ATTEMPTS = 100;

/** The rules as one iothread knows them. */
export class FaultTable {
  readonly #memory: FaultMemory;
  readonly #offset: number;
  #generation = 0;
  #rules: readonly Rule[] = [];
  #slow = false;

  /** @param offset where the disk begins in the one that rules speak of, bytes */
  constructor(buffer: SharedArrayBuffer, offset: number) {
    this.#memory = new FaultMemory(buffer);
    this.#offset = offset;
  }

  /** Whether there are any rules. A load and a comparison while nothing changes. */
  get any(): boolean {
    this.#refresh();
    return this.#rules.length > 0;
  }

  /** Whether there are rules that make requests wait. */
  get slow(): boolean {
    this.#refresh();
    return this.#slow;
  }

  /** Changes with the rules. */
  get generation(): number {
    this.#refresh();
    return this.#generation;
  }

  /**
   * Which fault a request has, if any; counts it.
   * @param now whether the request can't wait: rules that would have it wait are passed over
   */
  faultOf(request: BlockRequest, now = false): Fault | undefined {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      this.#refresh();
      const fault = this.#judge(request, now);
      if (fault !== 'changed') return fault;
    }
    return undefined;
  }

  #judge(request: BlockRequest, now: boolean): Fault | undefined | 'changed' {
    for (const [index, rule] of this.#rules.entries()) {
      if (now && (rule.hang || rule.delayMs > 0)) continue;
      if (!this.#applies(rule, request)) continue;
      const nth = this.#memory.next(this.#generation, index, Counter.SEEN, MAX_FAULT_COUNT);
      if (nth === undefined) return 'changed';
      if (nth < rule.skip || mix(this.#memory.seed, index, nth) >= rule.chance) continue;
      const before = this.#memory.next(this.#generation, index, Counter.FIRED, rule.count);
      if (before === undefined) return 'changed';
      // One that fires for ever goes on to do so when its counter is full.
      if (before < rule.count || rule.count === MAX_FAULT_COUNT) return rule;
    }
    return undefined;
  }

  #applies({ operation, begin, end }: Rule, request: BlockRequest): boolean {
    if (operation !== -1 && operation !== request.operation) return false;
    if (begin === -1) return true;
    if (request.operation <= BlockOperation.WRITE) {
      return this.#touches(begin, end, request.position, request.data.byteLength);
    }
    for (let i = 0; i < request.rangeCount; i++) {
      if (this.#touches(begin, end, request.rangePositions[i]!, request.rangeLengths[i]!)) return true;
    }
    return false;
  }

  #touches(begin: number, end: number, position: number, byteLength: number): boolean {
    const at = this.#offset + position;
    return at < end && begin < at + byteLength;
  }

  #refresh(): void {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const generation = this.#memory.generation;
      if (generation === this.#generation) return;
      const text = this.#memory.read(generation);
      if (text === undefined) continue;
      this.#generation = generation;
      this.#rules = (JSON.parse(text) as CheckedRule[]).map((rule, index) => ({
        ...rule,
        generation,
        // One object for all requests that fail by it.
        error:
          rule.errorCode === ''
            ? undefined
            : new BlockDriverError(rule.errorCode, `injected by rule ${index}`),
      }));
      this.#slow = this.#rules.some(({ hang, delayMs }) => hang || delayMs > 0);
    }
  }
}

/** A number of 32 bits that is decided by the seed, the rule and the request. */
function mix(seed: number, rule: number, nth: number): number {
  let mixed = seed ^ Math.imul(rule + 1, 0x9e37_79b1) ^ Math.imul(nth + 1, 0x85eb_ca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0_aaad);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}
