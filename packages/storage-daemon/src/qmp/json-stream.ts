import { MAX_JSON_DEPTH, nestedTooDeep, parseJson } from '../options/json-text.js';
import { StorageDaemonError } from '../storage-daemon-error.js';

/** Characters that one message may have. */
export const MAX_MESSAGE_LENGTH = 1 << 20;

/**
 * Cuts a stream of text into JSON values: objects may come in pieces, or several at once. What can't be one is an error,
 * and the stream goes on behind the next line break.
 */
export class JsonStream {
  /** What has come of the message so far. */
  #text = '';
  /** How far it has been looked at. */
  #at = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** Inside something that is neither an object nor an array. */
  #bare = false;
  #skipping = false;

  /** The values, and the errors in the place of those that are none, that `chunk` completes. */
  *push(chunk: string): Generator<{ readonly value: unknown } | { readonly error: StorageDaemonError }> {
    this.#text += chunk;
    for (;;) {
      if (this.#skipping && !this.#skip()) return;
      let end: number;
      try {
        end = this.#scan();
      } catch (error) {
        if (!(error instanceof StorageDaemonError)) throw error;
        this.#take(this.#at);
        this.#skipping = true;
        yield { error };
        continue;
      }
      if (end === -1) return;
      const text = this.#take(end);
      let result: { readonly value: unknown } | { readonly error: StorageDaemonError };
      try {
        result = { value: parseJson(text) };
      } catch (error) {
        if (!(error instanceof StorageDaemonError)) throw error;
        result = { error };
      }
      yield result;
    }
  }

  /** @returns where the message ends, or -1 while it doesn't */
  #scan(): number {
    for (; this.#at < this.#text.length; this.#at++) {
      if (this.#at >= MAX_MESSAGE_LENGTH) {
        throw mistake(`JSON message size limit exceeded: at most ${MAX_MESSAGE_LENGTH} characters`);
      }
      const char = this.#text[this.#at]!;
      if (this.#inString) {
        if (char === '\n') throw mistake('JSON parse error, line break in a string');
        if (this.#escaped) this.#escaped = false;
        else if (char === '\\') this.#escaped = true;
        else if (char === '"') this.#inString = false;
        continue;
      }
      if (this.#bare) {
        if (char === '\n') return this.#at;
        continue;
      }
      switch (char) {
        case '{':
        case '[':
          if (++this.#depth > MAX_JSON_DEPTH) throw nestedTooDeep();
          break;
        case '}':
        case ']':
          if (--this.#depth <= 0) return this.#at + 1;
          break;
        default:
          if (this.#depth > 0) this.#inString = char === '"';
          else if (/\s/.test(char)) this.#dropBlank();
          else this.#bare = true;
      }
    }
    return -1;
  }

  /** Blanks between messages don't count towards their length. */
  #dropBlank(): void {
    this.#text = this.#text.slice(this.#at + 1);
    this.#at = -1;
  }

  /** Removes the first `length` characters; the next message begins there. */
  #take(length: number): string {
    const taken = this.#text.slice(0, length);
    this.#text = this.#text.slice(length);
    this.#at = 0;
    this.#depth = 0;
    this.#inString = false;
    this.#escaped = false;
    this.#bare = false;
    return taken;
  }

  /** @returns whether the end of the bad line has come */
  #skip(): boolean {
    const lineEnd = this.#text.indexOf('\n');
    this.#take(lineEnd === -1 ? this.#text.length : lineEnd + 1);
    this.#skipping = lineEnd === -1;
    return lineEnd !== -1;
  }
}

function mistake(message: string): StorageDaemonError {
  return new StorageDaemonError('ERR_JSON', message);
}
