// Preloaded into every thread of a daemon that is watched for leaks (`--import`, with `--expose-gc`): at SIGUSR2 they give up what is
// garbage, so that what is kept shows.
import { BroadcastChannel, isMainThread } from 'node:worker_threads';

const channel = new BroadcastChannel('collect-garbage');
if (isMainThread) {
  process.on('SIGUSR2', () => {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- there are no origins between threads
    channel.postMessage(undefined);
    globalThis.gc!();
  });
} else {
  channel.addEventListener('message', () => {
    globalThis.gc!();
  });
}
channel.unref();
