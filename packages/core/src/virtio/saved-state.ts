import { VirtioError } from '../virtio-error.js';

/** Reads a state that was saved, and perhaps kept in a file since: nothing in it is taken on trust. */
export class SavedState {
  readonly #what: string;
  readonly #fields: Readonly<Record<string, unknown>>;

  /**
   * @param what whose state it is, for messages
   * @throws VirtioError `ERR_STATE` when it is no object of this version
   */
  constructor(what: string, state: unknown, version: number) {
    this.#what = what;
    if (typeof state !== 'object' || state === null) throw this.mistake('no object');
    this.#fields = state as Record<string, unknown>;
    const found = this.#fields['version'];
    if (found !== version) throw this.mistake(`version ${String(found)}, expected ${version}`);
  }

  /** @throws VirtioError `ERR_STATE` when the field is no integer from 0 to `max` */
  uint(name: string, max: number = 0xffff_ffff): number {
    return this.#checked(name, this.#fields[name], max);
  }

  /** @throws VirtioError `ERR_STATE` when the field is no array of `length` integers from 0 to `max` */
  uints(name: string, length: number, max: number = 0xffff_ffff): number[] {
    const values = this.#fields[name];
    if (!Array.isArray(values) || values.length !== length) {
      throw this.mistake(`${name} must be ${length} numbers`);
    }
    return values.map((value: unknown, index) => this.#checked(`${name}[${index}]`, value, max));
  }

  mistake(why: string): VirtioError {
    return new VirtioError('ERR_STATE', `state of ${this.#what}: ${why}`);
  }

  #checked(name: string, value: unknown, max: number): number {
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max) return value;
    throw this.mistake(`${name} must be an integer from 0 to ${max}, got ${String(value)}`);
  }
}
