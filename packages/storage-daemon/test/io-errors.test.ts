// werror and rerror of exports: what an operator is told when a disk fails, sees, and does about it.
import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_OUT } from '@iothreads/core';
import { VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { until, within } from '../../../test/support/within.js';
import { DaemonProcess, run } from './support/daemon-process.js';
import { QmpClient } from './support/qmp-client.js';
import { Scratch } from './support/scratch.js';

const DISK = fileURLToPath(new URL('fixtures/filled-disk.mjs', import.meta.url));
const BLOCK = new Uint8Array(512).fill(7);

/** A daemon with a disk that can be made to fail, its export and monitor, and a front end. */
async function withExport(
  policies: string,
  what: (scene: {
    readonly daemon: DaemonProcess;
    readonly qmp: QmpClient;
    readonly frontEnd: VhostUserFrontEnd;
    readonly fail: (error: string) => void;
    readonly mend: () => void;
  }) => Promise<void>,
): Promise<void> {
  using scratch = new Scratch();
  const faults = scratch.file('faults');
  await using daemon = new DaemonProcess([
    `--chardev=socket,id=m,path=${scratch.file('qmp')},server=on,wait=off`,
    '--monitor=m',
    `--blockdev=module,node-name=disk,url=${DISK},options.faults=${faults}`,
    `--export=vhost-user-blk,id=vda,node-name=disk,writable=on,addr.type=unix,addr.path=${scratch.file('vda')}${policies}`,
  ]);
  await daemon.ready();
  using qmp = await QmpClient.connect(scratch.file('qmp'));
  const frontEnd = await VhostUserFrontEnd.connect(scratch.file('vda'), {
    memoryBytes: 1 << 20,
    dataBytes: 512,
  });
  try {
    await what({
      daemon,
      qmp,
      frontEnd,
      fail: (error) => writeFileSync(faults, error),
      mend: () => rmSync(faults),
    });
  } finally {
    await frontEnd.close();
  }
  expect((await daemon.stop()).code).toBe(0);
}

/** What has been told of failed requests. */
const events = (qmp: QmpClient): unknown[] =>
  qmp.events.filter(({ event }) => event === 'BLOCK_IO_ERROR').map(({ data }) => data);

const EVENT = { 'qom-path': '', device: 'vda', 'node-name': 'disk', operation: 'write' };

test('an export whose disk is full waits for cont, says so, and loses nothing', () =>
  withExport(',werror=enospc', async ({ daemon, qmp, frontEnd, fail, mend }) => {
    const queue = frontEnd.queues[0]!;
    const status = async (): Promise<unknown> =>
      ((await qmp.execute('query-block-exports')) as { 'io-status': string }[])[0]!['io-status'];
    expect(await status()).toBe('ok');
    fail('ENOSPC');
    const writes = [0, 1, 2].map((sector) => queue.request(VIRTIO_BLK_T_OUT, sector, 512, BLOCK));
    await until('the event', () => events(qmp).length > 0);
    expect(events(qmp)[0]).toEqual({
      ...EVENT,
      action: 'stop',
      nospace: true,
      reason: 'no space left on device',
    });
    expect(await status()).toBe('nospace');
    expect(await qmp.execute('query-blockstats')).toMatchObject([
      { 'x-exports': [{ 'io-status': 'nospace' }] },
    ]);
    await until('the log line', () => daemon.stderr.includes('paused'));
    expect(daemon.stderr).toContain(
      "error: export 'vda': paused, WRITE has failed with ENOSPC (no space left on device): make room, then say cont over QMP",
    );
    await expect(qmp.execute('cont', { id: 'vdb' })).rejects.toThrow(
      "GenericError: Export 'vdb' is not found",
    );
    expect(queue.inFlight).toBe(3);

    mend();
    expect(await qmp.execute('cont', { id: 'vda' })).toEqual({});
    for (const write of writes) expect((await within(write, 'a write')).status).toBe(VIRTIO_BLK_S_OK);
    expect(await status()).toBe('ok');
    expect(daemon.stderr).toContain("info: export 'vda': goes on");
    // Of all exports, and where there is nothing to do.
    expect(await qmp.execute('cont')).toEqual({});
    fail('EDQUOT');
    const flush = queue.flush();
    await until('the pause', async () => (await status()) === 'nospace');
    mend();
    expect(await qmp.execute('cont')).toEqual({});
    await within(flush, 'the flush');
  }));

test('other errors are the guest’s to hear of, and the operator’s', () =>
  withExport(',werror=enospc', async ({ qmp, frontEnd, fail }) => {
    fail('EIO');
    const { status } = await frontEnd.queues[0]!.request(VIRTIO_BLK_T_OUT, 0, 512, BLOCK);
    expect(status).toBe(VIRTIO_BLK_S_IOERR);
    await until('the event', () => events(qmp).length > 0);
    expect(events(qmp)).toEqual([{ ...EVENT, action: 'report', nospace: false, reason: 'i/o error' }]);
  }));

test('without werror a full disk is reported, and the log says what to do about that', () =>
  withExport('', async ({ daemon, qmp, frontEnd, fail }) => {
    fail('ENOSPC');
    for (let i = 0; i < 3; i++) {
      const { status } = await frontEnd.queues[0]!.request(VIRTIO_BLK_T_OUT, 0, 512, BLOCK);
      expect(status).toBe(VIRTIO_BLK_S_IOERR);
    }
    await until('the event', () => events(qmp).length > 0);
    expect(events(qmp)[0]).toMatchObject({ action: 'report', nospace: true });
    await until('the log line', () => daemon.stderr.includes('with werror=enospc it would wait'));
  }));

test('what is ignored is told of as well', () =>
  withExport(',werror=ignore', async ({ qmp, frontEnd, fail }) => {
    fail('ENOSPC');
    await frontEnd.queues[0]!.write(0, BLOCK);
    await until('the event', () => events(qmp).length > 0);
    expect(events(qmp)[0]).toMatchObject({ action: 'ignore' });
  }));

test('a policy that there is not is a mistake of one line', async () => {
  const serve = (policy: string) =>
    run(
      '--blockdev=null-co,node-name=n',
      `--export=vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path=/dev/null,${policy}`,
    );
  for (const [policy, message] of [
    ['werror=wait', "does not accept value 'wait' (known: report, ignore, enospc, stop, auto)"],
    ['rerror=enospc', "does not accept value 'enospc' (known: report, ignore, stop, auto)"],
  ] as const) {
    const { code, stderr } = await serve(policy);
    expect(code).toBe(1);
    expect(stderr).toContain(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  }
});
