import { VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import type { ClientTask } from './client.js';
import { QueueLoad } from './queue-load.js';
import { runLoads } from './run-loads.js';

/** Deep enough for every load: three descriptors a request. */
const QUEUE_SIZE = 512;
const DEPTH = 128;
const BLOCK_BYTES = 4096;

const frontEnds: VhostUserFrontEnd[] = [];

async function answer(task: ClientTask): Promise<object> {
  switch (task.what) {
    case 'connect':
      for (const socket of task.sockets) {
        frontEnds.push(
          await VhostUserFrontEnd.connect(socket, {
            queueSize: QUEUE_SIZE,
            depth: DEPTH,
            dataBytes: BLOCK_BYTES,
          }),
        );
      }
      return {};
    case 'run': {
      const loads: QueueLoad[] = [];
      for (const [index, frontEnd] of frontEnds.entries()) {
        const { operation } = task.load;
        const sizeBytes = (await frontEnd.capacitySectors()) * 512;
        const depth = task.load.depths[index]!;
        loads.push(new QueueLoad(frontEnd.queues[0]!, { sizeBytes, operation, depth }));
      }
      return { figures: runLoads(loads, task.load) };
    }
    case 'close':
      for (const frontEnd of frontEnds) await frontEnd.close();
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
