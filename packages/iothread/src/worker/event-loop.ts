import { PollingController, type PollingSettings } from '@iothreads/core';
import type { LoopStatistics } from '../shared/loop-statistics.js';
import type { WakeSlot } from '../shared/wake-slots.js';
import type { AttachedDevice, DeviceHost } from './attached-device.js';

/** The loop returns to libuv at least so often: control calls and callbacks wait no longer. */
const SLICE_NS = 1_000_000;
/** ... and so often while a driver waits for callbacks of libuv's. */
const CALLBACK_SLICE_NS = 20_000;
/** A device without work for so long is left to its doorbell, even while the loop stays awake for others. */
const RETIRE_NS = 100_000;
/**
 * Looks at the rings between two readings of the clock, while there is nothing to do: the clock is ten times as dear, and
 * each reading leaves a number for the garbage collector.
 */
const LOOKS_PER_CLOCK = 64;
/** While it is busy, the loop looks so often at the rings of devices that are not active: libuv may not come for a while. */
const PEEK_NS = 50_000;
/** What becomes ready sooner than this is waited for awake: timers are a millisecond coarse, and late. */
const TIMER_NS = 2_000_000;
/** Longer than this a timer can not be; it fires too early then, and the loop sleeps again. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** Rings are looked at so often even if nobody rings: a lost wake-up costs a moment, not for ever. */
const RECHECK_MS = 100;

/**
 * The event loop of an iothread, on top of the worker's libuv loop.
 *
 * Awake, it makes passes over the active devices, polls on for a while when there is nothing to do, and sleeps when the
 * polling controller says that nothing will come soon. A device is active from its doorbell until it has been without work
 * for a while; devices that are not active cost nothing.
 */
export class EventLoop implements DeviceHost {
  readonly nowNs: () => number;
  readonly polling: PollingController;
  readonly #wakeSlot: WakeSlot;
  readonly #statistics: LoopStatistics;
  readonly #devices = new Set<AttachedDevice>();
  readonly #active: AttachedDevice[] = [];
  readonly #recheck: NodeJS.Timeout;
  #timer: NodeJS.Timeout | undefined;
  #scheduled = false;
  #sleeping = false;
  /** Since when there has been nothing to do; NaN while there is, or while a known moment is waited for. */
  #idleSinceNs = NaN;
  readonly #runTurn = (): void => {
    this.#turn();
  };
  readonly #onWake = (): void => {
    if (!this.#sleeping) return;
    this.#statistics.countWakeup();
    this.#wakeUp();
    // Waking up took longer than what was waited for, perhaps: polling is worth it by when the kick came.
    this.#endIdle(this.#wakeSlot.kickedNs);
    this.#turn();
  };

  constructor(options: {
    readonly nowNs: () => number;
    readonly polling: PollingSettings;
    readonly wakeSlot: WakeSlot;
    readonly statistics: LoopStatistics;
  }) {
    this.nowNs = options.nowNs;
    this.polling = new PollingController(options.polling);
    this.#wakeSlot = options.wakeSlot;
    this.#statistics = options.statistics;
    this.#recheck = setInterval(() => {
      this.#lookForLostWakeups();
    }, RECHECK_MS);
    this.#schedule();
  }

  get shared(): boolean {
    return this.#devices.size > 1;
  }

  get crowded(): boolean {
    return this.#active.length > 1;
  }

  add(device: AttachedDevice): void {
    this.#devices.add(device);
  }

  remove(device: AttachedDevice): void {
    this.#devices.delete(device);
    const index = this.#active.indexOf(device);
    if (index !== -1) this.#deactivate(index);
  }

  /**
   * Its driver's side, or its disk, has rung. The turn comes next, not from within: who calls is libuv by way of C, where a
   * worker that ends itself (a user's disk may) would end the process.
   */
  kicked(device: AttachedDevice): void {
    if (!this.#devices.has(device)) return;
    this.#activate(device);
    if (this.#sleeping) {
      this.#statistics.countWakeup();
      this.#endIdle(this.nowNs(), true);
    }
    this.#schedule();
  }

  /** Gives a device a turn soon. */
  attend(device: AttachedDevice): void {
    this.#activate(device);
    this.#schedule();
  }

  stop(): void {
    clearInterval(this.#recheck);
    clearTimeout(this.#timer);
    this.#devices.clear();
    this.#active.length = 0;
  }

  #activate(device: AttachedDevice): void {
    if (this.#active.includes(device)) return;
    device.lastWorkNs = this.nowNs();
    this.#active.push(device);
  }

  /** The others stay in their order: who jumps the queue would get two turns in a row. */
  #deactivate(index: number): void {
    const active = this.#active;
    for (let i = index + 1; i < active.length; i++) active[i - 1] = active[i]!;
    active.pop();
  }

  #schedule(): void {
    if (this.#sleeping) this.#wakeUp();
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#runTurn);
  }

  #wakeUp(): void {
    this.#sleeping = false;
    this.#wakeSlot.awake();
    if (this.#timer !== undefined) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
  }

  /** Passes over the active devices until there is nothing to do, or others want the thread. */
  #turn(): void {
    this.#scheduled = false;
    if (this.#sleeping) return;
    let nowNs = this.nowNs();
    const turnNs = nowNs;
    let peekedNs = nowNs;
    for (;;) {
      this.#statistics.countPass();
      if (this.#wakeSlot.takeKick()) this.#takeKicks();
      const work = this.#pass(nowNs);
      nowNs = this.nowNs();
      if (work > 0) {
        this.#endIdle(nowNs);
      } else if (!this.#worthPolling(nowNs)) {
        // Who collects what is complete finds other devices' requests, too: they are to be published, and have asked for a turn.
        if (this.#scheduled) break;
        if (this.#sleep(nowNs)) return;
      } else if (this.#waitsForLibuv()) {
        break;
      } else {
        this.#lookAround();
        nowNs = this.nowNs();
      }
      if (nowNs - peekedNs >= PEEK_NS) {
        peekedNs = nowNs;
        this.#peek();
      }
      if (nowNs - turnNs >= (this.#waitsForLibuv() ? CALLBACK_SLICE_NS : SLICE_NS)) break;
    }
    this.#statistics.countYield();
    this.#schedule();
  }

  #takeKicks(): void {
    for (const device of this.#devices) if (device.takeKicks()) this.#activate(device);
  }

  /** A device whose doorbell is an eventfd is heard of in libuv's loop; its ring tells sooner. */
  #peek(): void {
    if (this.#active.length === this.#devices.size) return;
    for (const device of this.#devices) if (device.stirs()) this.#activate(device);
  }

  #pass(nowNs: number): number {
    const active = this.#active;
    let work = 0;
    for (let i = 0; i < active.length; i++) {
      const device = active[i]!;
      const done = device.turn(nowNs);
      work += done;
      if (done === 0 && device.inFlight === 0 && nowNs - device.lastWorkNs > RETIRE_NS && active.length > 1) {
        if (!device.arm()) this.#deactivate(i--);
      }
    }
    return work;
  }

  /** There is work since `workNs`: for how long has the loop been without? */
  #endIdle(workNs: number, woken: boolean = false): void {
    if (!Number.isNaN(this.#idleSinceNs)) this.polling.adjust(workNs - this.#idleSinceNs, woken);
    this.#idleSinceNs = NaN;
  }

  #worthPolling(nowNs: number): boolean {
    if (this.#nextReadyNs() - nowNs < TIMER_NS) {
      // A known moment is no idle time: it must not teach the controller anything.
      this.#idleSinceNs = NaN;
      return true;
    }
    if (Number.isNaN(this.#idleSinceNs)) this.#idleSinceNs = nowNs;
    return nowNs - this.#idleSinceNs < this.polling.pollNs;
  }

  /** Looks at the doorbells and rings for a moment, until something stirs there. */
  #lookAround(): void {
    const active = this.#active;
    for (let looks = 0; looks < LOOKS_PER_CLOCK; looks += active.length + 1) {
      if (this.#wakeSlot.stirs) return;
      for (let i = 0; i < active.length; i++) if (active[i]!.stirs()) return;
    }
  }

  #waitsForLibuv(): boolean {
    for (const device of this.#active) if (device.waitsForLibuv) return true;
    return false;
  }

  #nextReadyNs(): number {
    let next = Infinity;
    for (const device of this.#active) {
      if (device.inFlight === 0 || device.driver.nextReadyNs === undefined) continue;
      const ready = device.driver.nextReadyNs();
      if (ready < next) next = ready;
    }
    return next;
  }

  /** Goes to sleep unless requests came while the doorbells were being armed. @returns whether it sleeps */
  #sleep(nowNs: number): boolean {
    const active = this.#active;
    let more = false;
    for (let i = 0; i < active.length; i++) {
      const device = active[i]!;
      if (device.arm()) more = true;
      // Who waits for a moment of its own stays active, so that the loop keeps knowing of it.
      else if (device.inFlight === 0 || device.driver.poll === undefined) this.#deactivate(i--);
    }
    if (more || !this.#wakeSlot.sleep(this.#onWake)) return false;
    this.#sleeping = true;
    this.#statistics.countSleep();
    const nextReadyNs = this.#nextReadyNs();
    if (nextReadyNs !== Infinity) {
      // A millisecond early: the rest is waited for awake.
      const ms = Math.min(Math.max(1, Math.floor((nextReadyNs - nowNs) / 1e6) - 1), MAX_TIMER_MS);
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#schedule();
      }, ms);
    }
    return true;
  }

  #lookForLostWakeups(): void {
    // A kick that is on its way is late, not lost.
    if (!this.#sleeping || this.#wakeSlot.kicked) return;
    for (const device of this.#devices) {
      if (!device.hasWork()) continue;
      this.#statistics.countLostWakeup();
      this.attend(device);
    }
  }
}
