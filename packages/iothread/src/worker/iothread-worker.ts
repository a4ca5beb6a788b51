import { expose } from 'comlink';
import type { MessagePort } from 'node:worker_threads';
import '../control/error-transfer.js';
import { asEndpoint } from '../control/endpoint.js';
import { sendDriverErrors, sendIOError } from './driver-error-reports.js';
import { IOThreadControl, type IOThreadStart } from './iothread-control.js';

/** The worker's one task: it lives as long as the iothread does. */
export default function iothread({
  port,
  reports,
  ...start
}: IOThreadStart & { port: MessagePort; reports: MessagePort }): Promise<void> {
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
    const control = new IOThreadControl(start, onStop, (device, report) => {
      sendIOError(reports, device, report);
    });
    expose(control, asEndpoint(port));
  });
}
