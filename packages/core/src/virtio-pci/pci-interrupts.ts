import { InterruptLine } from '../virtio/interrupt-line.js';
import { merged } from '../virtio/register-bank.js';
import { CONFIG_INTERRUPT } from '../virtio/registered-device.js';
import type { SavedState } from '../virtio/saved-state.js';
import { type MsixState, MsixTable, type SendMessage } from './msix-table.js';
import { ISR_CONFIG, ISR_QUEUE, MSIX_MAX_VECTORS, VIRTIO_MSI_NO_VECTOR } from './pci-layout.js';

/** Part of what a function saves. */
export interface PciInterruptsState extends MsixState {
  readonly isr: number;
  /** The vector of the configuration, then of each queue, as the driver wrote them. */
  readonly vectors: readonly number[];
}

/**
 * How a virtio-pci function interrupts: by its pin, and the ISR status says why; or by MSI-X, which the driver may enable where
 * the machine can send messages (virtio 1.3 sections 4.1.4.5, 4.1.5.3 and 4.1.5.4). Never by both.
 */
export class PciInterrupts {
  readonly msix: MsixTable | undefined;
  readonly #line: InterruptLine;
  /** Of the configuration, then of the queues: place `source + 1`. As written, so that a write may come in two bytes. */
  readonly #vectors: Uint16Array;
  #isr = 0;
  #intxDisabled = false;

  constructor(numQueues: number, setLevel: (level: boolean) => void, send: SendMessage | undefined) {
    this.#line = new InterruptLine(setLevel);
    this.#vectors = new Uint16Array(numQueues + 1).fill(VIRTIO_MSI_NO_VECTOR);
    if (send !== undefined) this.msix = new MsixTable(Math.min(numQueues + 1, MSIX_MAX_VECTORS), send);
  }

  /** The device interrupts: `source` is a queue's index or `CONFIG_INTERRUPT`. */
  raise(source: number): void {
    const byMessage = this.msix?.enabled === true;
    if (source === CONFIG_INTERRUPT) this.#isr |= ISR_CONFIG;
    else if (!byMessage) this.#isr |= ISR_QUEUE;
    if (byMessage) {
      const vector = this.vector(source);
      if (vector !== VIRTIO_MSI_NO_VECTOR) this.msix.notify(vector);
    }
    this.#updateLine();
  }

  /** The driver reads the ISR status: that clears it, and the pin goes low at once. */
  takeIsr(): number {
    const isr = this.#isr;
    this.#isr = 0;
    this.#updateLine();
    return isr;
  }

  /** Whether the pin would be asserted if the driver had not disabled it: a bit of the PCI status register. */
  get pending(): boolean {
    return this.#isr !== 0 && this.msix?.enabled !== true;
  }

  /** The vector of an event; `VIRTIO_MSI_NO_VECTOR` for one that is not there or has been given none that there is. */
  vector(source: number): number {
    const vector = this.#vectors[source + 1];
    const isMapped = vector !== undefined && this.msix !== undefined && vector < this.msix.vectors;
    return isMapped ? vector : VIRTIO_MSI_NO_VECTOR;
  }

  writeVector(source: number, value: number, mask: number): void {
    const before = this.#vectors[source + 1];
    if (before !== undefined) this.#vectors[source + 1] = merged(before, value, mask);
  }

  /** What the configuration space's command and MSI-X registers say. */
  setControl(intxDisabled: boolean, msixEnabled: boolean, msixMasked: boolean): void {
    this.#intxDisabled = intxDisabled;
    this.msix?.setControl(msixEnabled, msixMasked);
    this.#updateLine();
  }

  /** The device is reset, or gone: nothing is pending, no event has a vector. */
  reset(): void {
    this.#isr = 0;
    this.#vectors.fill(VIRTIO_MSI_NO_VECTOR);
    this.msix?.clearPending();
    this.#updateLine();
  }

  saveState(): PciInterruptsState {
    const msix = this.msix?.saveState() ?? { msixTable: [], msixPending: [] };
    return { isr: this.#isr, vectors: [...this.#vectors], ...msix };
  }

  /**
   * Checks a state and changes nothing yet.
   * @returns what takes it on; the pin follows at the next `setControl`
   * @throws VirtioError `ERR_STATE` for what is no state of as many queues and vectors
   */
  prepareRestore(saved: SavedState): () => void {
    const isr = saved.uint('isr', ISR_QUEUE | ISR_CONFIG);
    const vectors = saved.uints('vectors', this.#vectors.length, 0xffff);
    const restoreMsix = this.msix?.prepareRestore(saved);
    return () => {
      this.#isr = isr;
      this.#vectors.set(vectors);
      restoreMsix?.();
    };
  }

  #updateLine(): void {
    this.#line.level = this.pending && !this.#intxDisabled;
  }
}
