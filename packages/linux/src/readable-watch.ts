import * as koffi from 'koffi';

/** Those of this thread that are open. */
const open = new Set<ReadableWatch>();

/**
 * A thread that ends goes through its loop once more, with JavaScript switched off already: koffi ends the whole process over
 * a callback that it can't make then.
 */
function closeAll(): void {
  for (const watch of open) watch.close();
}

/**
 * Calls `onReadable` on this thread's event loop as long as `fd` is readable: again and again until what is there has been
 * read. Also when the other side has hung up: reading tells.
 */
export class ReadableWatch {
  // koffi's handle goes silent when it is collected: kept here for as long as the watch is.
  readonly #handle: koffi.node.PollHandle;

  /** `fd` must stay open until `close`. */
  constructor(fd: number, onReadable: () => void) {
    // uv_poll(3) of this thread's own loop; the callback runs on it like any other.
    this.#handle = koffi.node.poll(fd, { readable: true, disconnect: true }, onReadable);
    if (open.size === 0) process.once('exit', closeAll);
    open.add(this);
  }

  /** From now on it keeps no process or worker alive. */
  unref(): void {
    this.#handle.unref();
  }

  /** No call comes after this; then `fd` may be closed. */
  close(): void {
    if (!open.delete(this)) return;
    if (open.size === 0) process.off('exit', closeAll);
    this.#handle.close();
  }
}
