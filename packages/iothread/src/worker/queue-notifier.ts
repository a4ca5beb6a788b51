/** How the driver of one queue kicks this iothread, and how it is interrupted. */
export interface QueueNotifier {
  /** Whether a kick came since the last call; clears it where that takes no system call. */
  takeKick(): boolean;
  /** The device has had its turn: what a kick left behind can be cleared now, off the request's way. */
  clearKick(): void;
  /** Completions are in the used ring and the driver wants to hear of them. */
  interrupt(): void;
  /** The ring can't be trusted any more, and is not served until it is started anew. */
  ringBroken(): void;
  /** The queue has stopped: nothing is called after this. */
  close(): void;
}
