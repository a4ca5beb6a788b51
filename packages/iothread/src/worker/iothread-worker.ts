import { expose } from 'comlink';
import type { MessagePort } from 'node:worker_threads';
import '../control/error-transfer.js';
import { asEndpoint } from '../control/endpoint.js';
import { sendDriverErrors, sendIOError } from './driver-error-reports.js';
import { IOThreadControl, type IOThreadStart } from './iothread-control.js';
import { tellRemains } from './thread-remains.js';

/** The worker's lines to its owner. */
export interface WorkerPorts {
  /** Calls and their answers. */
  readonly port: MessagePort;
  /** Of failed requests. */
  readonly reports: MessagePort;
  /** Of what does not end with the thread. */
  readonly remains: MessagePort;
}

/** The worker's one task: it lives as long as the iothread does. */
export default function iothread({
  port,
  reports,
  remains,
  ...start
}: IOThreadStart & WorkerPorts): Promise<void> {
  sendDriverErrors(reports);
  return new Promise((resolve) => {
    const onStop = (): void => {
      // The answer to `stop` leaves before the port does.
      setImmediate(() => {
        port.close();
        reports.close();
        resolve();
      });
    };
    const onIOError: ConstructorParameters<typeof IOThreadControl>[2] = (device, report) => {
      sendIOError(reports, device, report);
    };
    expose(new IOThreadControl(start, onStop, onIOError, tellRemains(remains)), asEndpoint(port));
  });
}
