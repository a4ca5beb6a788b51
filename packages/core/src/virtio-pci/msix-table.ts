import { merged, RegisterBank } from '../virtio/register-bank.js';
import type { SavedState } from '../virtio/saved-state.js';
import { MSIX_ENTRY_BYTES } from './pci-layout.js';

const ENTRY_WORDS = MSIX_ENTRY_BYTES / 4;
const DATA = 2;
const VECTOR_CONTROL = 3;
const MASKED = 1;

/** Sends a message-signalled interrupt: `data` is written to a 64-bit address, whose halves are unsigned. */
export type SendMessage = (addressLow: number, addressHigh: number, data: number) => void;

/** Part of what a function saves; both are empty without MSI-X. */
export interface MsixState {
  /** Four words a vector. */
  readonly msixTable: readonly number[];
  /** One bit a vector, 32 a word. */
  readonly msixPending: readonly number[];
}

/** The MSI-X table and, behind it, the pending bits (PCI Local Bus 3.0, section 6.8.2). */
export class MsixTable extends RegisterBank {
  readonly vectors: number;
  /** Where the pending bits are, in bytes. */
  readonly pbaOffset: number;
  readonly #table: Uint32Array;
  readonly #pending: Uint32Array;
  readonly #send: SendMessage;
  #enabled = false;
  #functionMasked = false;

  constructor(vectors: number, send: SendMessage) {
    const pendingWords = 2 * Math.ceil(vectors / 64);
    super(vectors * MSIX_ENTRY_BYTES + pendingWords * 4);
    this.vectors = vectors;
    this.pbaOffset = vectors * MSIX_ENTRY_BYTES;
    this.#table = new Uint32Array(vectors * ENTRY_WORDS);
    this.#pending = new Uint32Array(pendingWords);
    this.#send = send;
    this.reset();
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  /** The function's control bits; what was kept back is sent when they allow it. */
  setControl(enabled: boolean, functionMasked: boolean): void {
    this.#enabled = enabled;
    this.#functionMasked = functionMasked;
    for (let vector = 0; vector < this.vectors; vector++) this.#sendPending(vector);
  }

  /** Sends the message of a vector, or keeps it back while that is masked. */
  notify(vector: number): void {
    this.#pending[vector >>> 5]! |= 1 << (vector & 31);
    this.#sendPending(vector);
  }

  /** Forgets what was kept back. */
  clearPending(): void {
    this.#pending.fill(0);
  }

  /** As at power-on: every vector is masked. */
  reset(): void {
    this.#table.fill(0);
    for (let at = VECTOR_CONTROL; at < this.#table.length; at += ENTRY_WORDS) this.#table[at] = MASKED;
    this.clearPending();
  }

  saveState(): MsixState {
    return { msixTable: [...this.#table], msixPending: [...this.#pending] };
  }

  /**
   * Checks a state and changes nothing yet.
   * @returns what takes it on
   * @throws VirtioError `ERR_STATE` for what is no state of as many vectors
   */
  prepareRestore(saved: SavedState): () => void {
    const table = saved.uints('msixTable', this.#table.length);
    const pending = saved.uints('msixPending', this.#pending.length);
    return () => {
      this.#table.set(table);
      this.#pending.set(pending);
    };
  }

  protected override registerAt(offset: number): number {
    return offset & ~3;
  }

  protected override registerBytes(): number {
    return 4;
  }

  protected override readRegister(register: number): number {
    if (register < this.pbaOffset) return this.#table[register >>> 2]!;
    return this.#pending[(register - this.pbaOffset) >>> 2]!;
  }

  protected override writeRegister(register: number, value: number, mask: number): void {
    // Pending bits are the function's own.
    if (register >= this.pbaOffset) return;
    const word = register >>> 2;
    const isControl = word % ENTRY_WORDS === VECTOR_CONTROL;
    this.#table[word] = merged(this.#table[word]!, value, isControl ? mask & MASKED : mask);
    if (isControl) this.#sendPending((word / ENTRY_WORDS) >>> 0);
  }

  #sendPending(vector: number): void {
    const bit = 1 << (vector & 31);
    const entry = vector * ENTRY_WORDS;
    const masked = this.#functionMasked || (this.#table[entry + VECTOR_CONTROL]! & MASKED) !== 0;
    if (!this.#enabled || masked || (this.#pending[vector >>> 5]! & bit) === 0) return;
    this.#pending[vector >>> 5]! &= ~bit;
    this.#send(this.#table[entry]!, this.#table[entry + 1]!, this.#table[entry + DATA]!);
  }
}
