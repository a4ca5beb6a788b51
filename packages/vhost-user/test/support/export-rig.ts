import { holdDrive, type DriveOptions, type HeldDrive } from '@iothreads/backends';
import { IOThreadRuntime } from '@iothreads/iothread';
import { type LogLevel, VhostUserBlkExport, type VhostUserBlkOptions } from '@iothreads/vhost-user';
import { type FrontEndOptions, FrontEndRequests, VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface LogLine {
  readonly level: LogLevel;
  readonly message: string;
}

const open: ExportRig[] = [];

/** An export of its own: runtime, drive, socket, and what it has told. */
export class ExportRig {
  readonly lines: LogLine[] = [];
  readonly runtime = new IOThreadRuntime();
  readonly directory = mkdtempSync(join(tmpdir(), 'vhost-user-'));
  readonly path = join(this.directory, 'disk.sock');
  readonly #frontEnds: VhostUserFrontEnd[] = [];
  readonly #requests: FrontEndRequests[] = [];
  drive!: HeldDrive;
  server!: VhostUserBlkExport;

  static async start(
    drive: DriveOptions = { driver: 'memory', size: 4 << 20 },
    options: Partial<VhostUserBlkOptions> = {},
  ): Promise<ExportRig> {
    const rig = new ExportRig();
    open.push(rig);
    for (const id of ['iothread0', 'iothread1']) await rig.runtime.addIOThread({ id });
    rig.drive = await holdDrive(drive);
    rig.server = await rig.export(options);
    return rig;
  }

  /** Another export of the same drive would need another id. */
  export(options: Partial<VhostUserBlkOptions> = {}): Promise<VhostUserBlkExport> {
    return VhostUserBlkExport.start(
      this.runtime,
      {
        id: 'disk',
        drive: this.drive.prepared,
        address: { type: 'unix', path: this.path },
        writable: true,
        iothreads: ['iothread0'],
        ...options,
      },
      (level, message) => {
        this.lines.push({ level, message });
      },
    );
  }

  async connect(options?: FrontEndOptions): Promise<VhostUserFrontEnd> {
    const frontEnd = await VhostUserFrontEnd.connect(this.path, options);
    this.#frontEnds.push(frontEnd);
    return frontEnd;
  }

  /** A connection on which nothing has been said. */
  connectBare(): FrontEndRequests {
    const requests = FrontEndRequests.connect(this.path);
    this.#requests.push(requests);
    return requests;
  }

  messages(level: LogLevel): string[] {
    return this.lines.filter((line) => line.level === level).map(({ message }) => message);
  }

  /** Another export in its place, which has not told anything yet. */
  async renew(options: Partial<VhostUserBlkOptions>): Promise<void> {
    await this.#disconnect();
    this.lines.length = 0;
    this.server = await this.export(options);
  }

  async #disconnect(): Promise<void> {
    for (const requests of this.#requests.splice(0)) requests.close();
    for (const frontEnd of this.#frontEnds.splice(0)) await frontEnd.close();
    await this.server?.close();
  }

  async close(): Promise<void> {
    await this.#disconnect();
    await this.runtime.close();
    await this.drive?.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** For `afterEach`. */
export async function closeRigs(): Promise<void> {
  for (const rig of open.splice(0)) await rig.close();
}
