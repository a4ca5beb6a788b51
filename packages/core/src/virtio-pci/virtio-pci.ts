import { VirtioError } from '../virtio-error.js';
import type { AccessWidth, RegisterBank } from '../virtio/register-bank.js';
import type { RegisteredDevice } from '../virtio/registered-device.js';
import { SavedState } from '../virtio/saved-state.js';
import { TransportRegisters, type TransportRegistersState } from '../virtio/transport-registers.js';
import { PciConfigSpace, type PciBar, type PciBarRegisters } from './pci-config-space.js';
import { PciInterrupts, type PciInterruptsState } from './pci-interrupts.js';
import { PciStructures } from './pci-structures.js';

/** The most that a function may take of a machine's I/O ports with one BAR (PCI Local Bus 3.0, section 6.2.5.1). */
const IO_BAR_BYTES = 256;
/** A page, so that no other function shares it. */
const MEMORY_BAR_BYTES = 4096;
const STATE_VERSION = 1;

/** The machine that has the function on its bus. All are called from within accesses and the device's interrupts. */
export interface VirtioPciHost {
  /** The interrupt pin changes to this level. */
  setInterrupt(level: boolean): void;
  /** Writes `data` to an address of 64 bits, whose halves are unsigned. With it the function offers MSI-X, without it none. */
  sendMessage?(addressLow: number, addressHigh: number, data: number): void;
  /** The driver has moved a BAR, enabled or disabled it: see `barAddress`. */
  barsChanged?(): void;
}

/** How a function presents its device. */
export interface VirtioPciOptions {
  /** Whether the virtio structures lie in I/O ports, of up to 32 queues, or in memory. An MSI-X table is always in memory. */
  readonly bar: 'io' | 'memory';
}

/** What `saveState` gives: plain JSON. */
export interface VirtioPciState extends TransportRegistersState, PciInterruptsState {
  readonly version: typeof STATE_VERSION;
  /** 64 words. */
  readonly config: readonly number[];
}

/**
 * A device as a modern virtio-pci function (virtio 1.3 section 4.1). The machine leads accesses of its configuration space to
 * `readConfig` and `writeConfig`, those of its BARs to `readBar` and `writeBar`, with offsets from where each begins.
 *
 * A machine that keeps PCI configuration spaces itself takes the first contents from `configSpace()`, the sizes of the BARs
 * from `bars`, places them, and calls `readBar` and `writeBar` alone.
 *
 * What the driver says of bus mastering is kept, but not held against it.
 */
export class VirtioPci {
  readonly bars: readonly PciBar[];
  readonly #banks: readonly RegisterBank[];
  readonly #host: VirtioPciHost;
  readonly #registers: TransportRegisters;
  readonly #interrupts: PciInterrupts;
  readonly #config: PciConfigSpace;
  readonly #unsubscribe: () => void;
  /** As the machine was told last. */
  #addresses: readonly (number | undefined)[];

  /** @throws VirtioError `ERR_DEVICE_OPTION` for more queues than an I/O BAR has room for */
  constructor(device: RegisteredDevice, host: VirtioPciHost, options: VirtioPciOptions) {
    const { numQueues } = device.virtio;
    this.#host = host;
    this.#registers = new TransportRegisters(device);
    this.#interrupts = new PciInterrupts(
      numQueues,
      (level) => {
        host.setInterrupt(level);
      },
      host.sendMessage?.bind(host),
    );
    const { msix } = this.#interrupts;
    const structures = new PciStructures(device, this.#registers, this.#interrupts);
    if (options.bar === 'io' && structures.byteLength > IO_BAR_BYTES) {
      throw new VirtioError(
        'ERR_DEVICE_OPTION',
        `bar: an I/O BAR has no room for the doorbells of ${numQueues} queues; use 'memory'`,
      );
    }
    const bars = [pciBar(0, options.bar, structures)];
    if (msix !== undefined) bars.push(pciBar(1, 'memory', msix));
    this.bars = bars;
    this.#banks = bars.map((bar) => bar.registers);
    this.#config = new PciConfigSpace({
      numQueues,
      bars,
      msix,
      interruptPending: () => this.#interrupts.pending,
      written: () => {
        this.#followConfig();
      },
    });
    this.#addresses = bars.map(() => undefined);
    this.#unsubscribe = device.onInterrupt((source) => {
      if (this.#registers.running) this.#interrupts.raise(source);
    });
  }

  /** A copy of the 256 bytes as they are now: just made, those that a machine of its own configuration spaces begins with. */
  configSpace(): Uint8Array {
    return this.#config.bytes;
  }

  /** @returns an unsigned number of `width` bytes; 0 beyond the 256 bytes */
  readConfig(offset: number, width: AccessWidth): number {
    return this.#config.read(offset, width);
  }

  /**
   * A write of 1, 2 or 4 bytes.
   * @param value an unsigned number of `width` bytes
   */
  writeConfig(offset: number, width: AccessWidth, value: number): void {
    this.#config.write(offset, width, value);
  }

  /** @returns an unsigned number of `width` bytes; 0 where there is nothing */
  readBar(bar: number, offset: number, width: AccessWidth): number {
    return this.#banks[bar]?.read(offset, width) ?? 0;
  }

  /**
   * A write of 1, 2 or 4 bytes.
   * @param value an unsigned number of `width` bytes; ignored where there is nothing
   */
  writeBar(bar: number, offset: number, width: AccessWidth, value: number): void {
    this.#banks[bar]?.write(offset, width, value);
  }

  /** An access of 8 bytes; lower half first. */
  readBar64(bar: number, offset: number): bigint {
    return this.#banks[bar]?.read64(offset) ?? 0n;
  }

  /** An access of 8 bytes; lower half first. */
  writeBar64(bar: number, offset: number, value: bigint): void {
    this.#banks[bar]?.write64(offset, value);
  }

  /** Where the driver has put a BAR; undefined while it has not enabled it. For machines that use `writeConfig`. */
  barAddress(bar: number): number | undefined {
    return this.#config.barAddress(bar);
  }

  /** The machine was reset: the device as if the driver had written status 0, the function as at power-on. */
  reset(): void {
    this.#registers.reset();
    this.#interrupts.reset();
    this.#interrupts.msix?.reset();
    this.#config.reset();
    this.#followConfig();
  }

  /** Lowers the pin and hears of no more interrupts. The device itself is its owner's. */
  close(): void {
    this.#unsubscribe();
    this.#interrupts.reset();
  }

  /** What this function remembers, as plain JSON; what the device remembers (status, features, enabled queues) is not in it. */
  saveState(): VirtioPciState {
    return {
      version: STATE_VERSION,
      config: this.#config.saveState(),
      ...this.#interrupts.saveState(),
      ...this.#registers.saveState(),
    };
  }

  /**
   * Goes on where `saveState` was called; the pin and the BARs follow. The device's own state is restored by its owner, before or
   * after.
   * @throws VirtioError `ERR_STATE` for what is no state of such a function; nothing has changed then
   */
  restoreState(state: unknown): void {
    const saved = new SavedState('virtio-pci', state, STATE_VERSION);
    const restore = [
      this.#config.prepareRestore(saved),
      this.#interrupts.prepareRestore(saved),
      this.#registers.prepareRestore(saved),
    ];
    for (const part of restore) part();
    this.#followConfig();
  }

  /** Takes on what the configuration space says of interrupts, and tells the machine of BARs that are elsewhere now. */
  #followConfig(): void {
    const config = this.#config;
    this.#interrupts.setControl(config.intxDisabled, config.msixEnabled, config.msixMasked);
    const addresses = this.bars.map((bar) => config.barAddress(bar.index));
    if (addresses.every((address, i) => address === this.#addresses[i])) return;
    this.#addresses = addresses;
    this.#host.barsChanged?.();
  }
}

function pciBar(index: number, kind: PciBar['kind'], registers: RegisterBank): PciBarRegisters {
  const least = kind === 'io' ? IO_BAR_BYTES : MEMORY_BAR_BYTES;
  const byteLength = Math.max(least, 2 ** Math.ceil(Math.log2(registers.byteLength)));
  return { index, kind, byteLength, registers };
}
