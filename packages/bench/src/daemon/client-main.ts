import { VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import type { ClientTask } from './client.js';
import { QueueLoad } from './client-load.js';

/** Deep enough for every load: three descriptors a request. */
const QUEUE_SIZE = 512;
const DEPTH = 128;
const BLOCK_BYTES = 4096;

let frontEnd: VhostUserFrontEnd | undefined;
let sizeBytes = 0;

async function answer(task: ClientTask): Promise<object> {
  switch (task.what) {
    case 'connect':
      frontEnd = await VhostUserFrontEnd.connect(task.socket, {
        queueSize: QUEUE_SIZE,
        depth: DEPTH,
        dataBytes: BLOCK_BYTES,
      });
      sizeBytes = (await frontEnd.capacitySectors()) * 512;
      return {};
    case 'run':
      return { figures: new QueueLoad(frontEnd!.queues[0]!, sizeBytes, task.load).run() };
    case 'close':
      await frontEnd?.close();
      return {};
  }
}

process.on('message', (task: ClientTask) => {
  answer(task).then(
    (result) => process.send!(result),
    (error: unknown) => process.send!({ error: error instanceof Error ? error.message : String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
