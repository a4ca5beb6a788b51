/** What goes through a gate: it begins when there is room for it. */
export interface Gated {
  /** Takes what it needs in order to begin. @returns false when that is not there for the moment: it will be asked again */
  ready(): boolean;
  begin(): void;
}

/**
 * Bounds what a thread has under way at a time; the others wait in order. What waits is bounded by the rings of the devices.
 */
export class TransferGate {
  readonly #limit: number;
  readonly #waiting: Gated[] = [];
  /** How many of `#waiting` are gone already. */
  #first = 0;
  #underWay = 0;
  #pumping = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Lets a transfer begin, now or when others have left. It leaves exactly once. */
  enter(transfer: Gated): void {
    if (this.#first < this.#waiting.length || this.#underWay >= this.#limit || !transfer.ready()) {
      this.#waiting.push(transfer);
      return;
    }
    this.#underWay++;
    transfer.begin();
  }

  /** A transfer is over, and has given back what it took. */
  leave(): void {
    this.#underWay--;
    // Who begins may be over at once, and leave from within: a loop, not a recursion.
    if (this.#pumping || this.#first === this.#waiting.length) return;
    this.#pumping = true;
    try {
      while (this.#first < this.#waiting.length && this.#underWay < this.#limit) {
        const next = this.#waiting[this.#first]!;
        if (!next.ready()) break;
        this.#drop();
        this.#underWay++;
        next.begin();
      }
    } finally {
      this.#pumping = false;
    }
  }

  #drop(): void {
    this.#first++;
    // Not at every step: to move the rest costs as much as there is of it.
    if (this.#first * 2 < this.#waiting.length) return;
    this.#waiting.copyWithin(0, this.#first);
    this.#waiting.length -= this.#first;
    this.#first = 0;
  }
}
