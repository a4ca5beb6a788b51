// What the daemon may do, and who may come near it.
import { VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import {
  chmodSync,
  chownSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { describe, expect, test } from 'vitest';
import { DaemonProcess, run } from './support/daemon-process.js';
import { childrenOf } from './support/processes.js';
import { QmpClient } from './support/qmp-client.js';
import { Scratch } from './support/scratch.js';
import { until } from '../../../test/support/within.js';

const isRoot = process.geteuid!() === 0;
/** Exists nowhere, and needs not to. */
const UID = 61234;
const GID = 61235;

const modeOf = (path: string): string => (statSync(path, { bigint: true }).mode & 0o7777n).toString(8);

const monitor = (scratch: Scratch, more = ''): string[] => [
  `--chardev=socket,id=m,path=${scratch.file('qmp')},server=on,wait=off${more}`,
  '--monitor=m',
];
const exported = (scratch: Scratch, more = ''): string =>
  `--export=vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path=${scratch.file('vhost')}${more}`;
const MEMORY = '--blockdev=memory,node-name=n,size=1048576';

describe('modes', () => {
  test('sockets are their owner’s alone, the pidfile can be read', async () => {
    using scratch = new Scratch();
    await using daemon = new DaemonProcess([
      ...monitor(scratch),
      MEMORY,
      exported(scratch),
      `--pidfile=${scratch.file('pid')}`,
    ]);
    await daemon.ready();
    expect(['qmp', 'vhost', 'pid'].map((name) => modeOf(scratch.file(name)))).toEqual(['600', '600', '644']);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('other modes are given with the path, on the command line and over QMP', async () => {
    using scratch = new Scratch();
    await using daemon = new DaemonProcess([
      ...monitor(scratch, ',mode=0660'),
      MEMORY,
      exported(scratch, ',addr.mode=0666'),
    ]);
    await daemon.ready();
    expect(['qmp', 'vhost'].map((name) => modeOf(scratch.file(name)))).toEqual(['660', '666']);
    using qmp = await QmpClient.connect(scratch.file('qmp'));
    await qmp.execute('block-export-add', {
      type: 'vhost-user-blk',
      id: 'f',
      'node-name': 'n',
      addr: { type: 'unix', path: scratch.file('f'), mode: '0620' },
    });
    const data = { addr: { type: 'unix', data: { path: scratch.file('c'), mode: '640' } } };
    await qmp.execute('chardev-add', { id: 'c', backend: { type: 'socket', data } });
    expect(['f', 'c'].map((name) => modeOf(scratch.file(name)))).toEqual(['620', '640']);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(scratch.list()).toEqual([]);
  });

  test.each(['1777', '66', 'rw', '0888'])('mode %s is refused', async (mode) => {
    using scratch = new Scratch();
    const { code, stderr } = await run(MEMORY, exported(scratch, `,addr.mode=${mode}`));
    expect(code).toBe(1);
    expect(stderr).toContain(
      `Parameter 'addr.mode' must be permission bits in octal, such as 0660, got '${mode}'`,
    );
  });

  test('a client has no mode to give', async () => {
    using scratch = new Scratch();
    const { stderr } = await run(`--chardev=socket,id=m,path=${scratch.file('qmp')},mode=0660`);
    expect(stderr).toContain("Parameter 'mode' is that of a server: add server=on");
  });
});

/** How a process has a file open: the access mode and more, of each descriptor. */
function openFlags(pid: number, path: string): number[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      if (readlinkSync(`/proc/${pid}/fd/${fd}`) !== path) return [];
      const [, flags] = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))!;
      return [Number.parseInt(flags!, 8)];
    } catch {
      // Closed since.
      return [];
    }
  });
}

const O_ACCMODE = 3;
const O_RDONLY = 0;
const O_RDWR = 2;

describe('images', () => {
  test('are opened once, with the rights that are needed, while they are served', async () => {
    using scratch = new Scratch();
    for (const name of ['ro', 'rw', 'auto']) writeFileSync(scratch.file(name), new Uint8Array(1 << 20));
    const serve = (name: string, more: string): string[] => [
      `--blockdev=file,node-name=${name},filename=${scratch.file(name)}${more}`,
      `--export=vhost-user-blk,id=${name},node-name=${name},addr.type=unix,addr.path=${scratch.file(`${name}.sock`)}`,
    ];
    await using daemon = new DaemonProcess([
      ...serve('ro', ',read-only=on'),
      ...serve('rw', ''),
      ...serve('auto', ',read-only=on,aio=threads'),
    ]);
    await daemon.ready();
    for (const name of ['ro', 'rw', 'auto']) {
      const frontEnd = await VhostUserFrontEnd.connect(scratch.file(`${name}.sock`));
      expect(await frontEnd.queues[0]!.read(0, 512)).toHaveLength(512);
      const flags = openFlags(daemon.child.pid!, scratch.file(name)).map((each) => each & O_ACCMODE);
      expect(flags, name).toEqual([name === 'rw' ? O_RDWR : O_RDONLY]);
      await frontEnd.close();
    }
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('are never taken for another format: what looks like qcow2 is served byte by byte', async () => {
    using scratch = new Scratch();
    const secret = scratch.file('secret');
    writeFileSync(secret, new Uint8Array(1 << 20).fill(0x53));
    const image = new Uint8Array(1 << 20);
    const header = new DataView(image.buffer);
    // QFI\xfb, version 3, and a backing file: its name at byte 512.
    header.setUint32(0, 0x514649fb);
    header.setUint32(4, 3);
    header.setBigUint64(8, 512n);
    header.setUint32(16, secret.length);
    header.setUint32(20, 16);
    header.setBigUint64(24, 1n << 20n);
    image.set(new TextEncoder().encode(secret), 512);
    const path = scratch.file('disk.qcow2');
    writeFileSync(path, image);
    await using daemon = new DaemonProcess([
      `--blockdev=file,node-name=f,filename=${path}`,
      '--blockdev=raw,node-name=n,file=f',
      exported(scratch),
    ]);
    await daemon.ready();
    const frontEnd = await VhostUserFrontEnd.connect(scratch.file('vhost'), { dataBytes: 1 << 16 });
    expect(await frontEnd.capacitySectors()).toBe(2048);
    for (let at = 0; at < image.length; at += 1 << 16) {
      const bytes = await frontEnd.queues[0]!.read(at / 512, 1 << 16);
      expect(Buffer.compare(bytes, image.subarray(at, at + (1 << 16)))).toBe(0);
    }
    await frontEnd.close();
    expect(openFlags(daemon.child.pid!, secret)).toEqual([]);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });
});

/** What each thread of a process may do. */
function threadsOf(
  pid: number,
): { readonly ids: string; readonly groups: string; readonly capabilities: string }[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
    const field = (name: string): string => new RegExp(`^${name}:\\s+(.*?)\\s*$`, 'm').exec(status)![1]!;
    const ids = `${field('Uid')} ${field('Gid')}`.replaceAll('\t', ' ');
    return { ids, groups: field('Groups'), capabilities: `${field('CapEff')} ${field('CapPrm')}` };
  });
}

const DROPPED = {
  ids: [...Array<number>(4).fill(UID), ...Array<number>(4).fill(GID)].join(' '),
  groups: String(GID),
  capabilities: '0000000000000000 0000000000000000',
};

/** A daemon that becomes somebody else, with an image that only root can open. */
const dropping = (scratch: Scratch, ...more: readonly string[]): string[] => {
  chmodSync(scratch.path, 0o755);
  writeFileSync(scratch.file('img'), new Uint8Array(1 << 20));
  chmodSync(scratch.file('img'), 0o600);
  return [
    `--run-with=user=${UID}:${GID}`,
    ...monitor(scratch),
    '--object=iothread,id=io0',
    `--blockdev=file,node-name=n,filename=${scratch.file('img')}`,
    exported(scratch, ',writable=on,iothread=io0'),
    `--pidfile=${scratch.file('pid')}`,
    ...more,
  ];
};

describe.runIf(isRoot)('--run-with user=', () => {
  test('all threads become that user, for good, and serve what root has opened', async () => {
    using scratch = new Scratch();
    await using daemon = new DaemonProcess(dropping(scratch));
    await daemon.ready();
    const threads = threadsOf(daemon.child.pid!);
    expect(threads.length).toBeGreaterThan(2);
    expect(new Set(threads.map((each) => JSON.stringify(each)))).toEqual(new Set([JSON.stringify(DROPPED)]));
    expect(readFileSync(`/proc/${daemon.child.pid}/status`, 'utf8')).toMatch(/^NoNewPrivs:\s+1$/m);
    const frontEnd = await VhostUserFrontEnd.connect(scratch.file('vhost'), { dataBytes: 4096 });
    await frontEnd.queues[0]!.write(0, new Uint8Array(4096).fill(7));
    expect((await frontEnd.queues[0]!.read(0, 4096)).every((byte) => byte === 7)).toBe(true);
    await frontEnd.close();
    // It may not remove what root has made in root's directory: the next one replaces it.
    const { code, stderr } = await daemon.stop();
    expect(code).toBe(0);
    expect(stderr).not.toMatch(/: (?:warning|error): /);
    expect(scratch.list()).toEqual(['img', 'pid', 'qmp', 'vhost']);
    await using next = new DaemonProcess(dropping(scratch));
    await next.ready();
    expect(await next.stop()).toMatchObject({ code: 0 });
  });

  test('what is opened over QMP is opened with its rights', async () => {
    using scratch = new Scratch();
    await using daemon = new DaemonProcess(dropping(scratch));
    await daemon.ready();
    const others = scratch.file('root');
    writeFileSync(others, '');
    truncateSync(others, 1 << 20);
    chmodSync(others, 0o600);
    using qmp = await QmpClient.connect(scratch.file('qmp'));
    const file = (name: string, filename: string): object => ({
      driver: 'file',
      'node-name': name,
      filename,
    });
    await expect(qmp.execute('blockdev-add', file('no', others))).rejects.toThrow(/permission|EACCES/i);
    const own = scratch.file('own');
    writeFileSync(own, '');
    truncateSync(own, 1 << 20);
    chownSync(own, UID, GID);
    expect(await qmp.execute('blockdev-add', file('yes', own))).toEqual({});
    expect(await qmp.execute('object-add', { 'qom-type': 'iothread', id: 'io1' })).toEqual({});
    const threads = threadsOf(daemon.child.pid!);
    expect(new Set(threads.map((each) => JSON.stringify(each)))).toEqual(new Set([JSON.stringify(DROPPED)]));
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('a name means its user and group', async () => {
    using scratch = new Scratch();
    await using daemon = new DaemonProcess(['--run-with', 'user=nobody', ...monitor(scratch)]);
    await daemon.ready();
    const [, uid, gid] = /^nobody:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'))!;
    for (const { ids, capabilities } of threadsOf(daemon.child.pid!)) {
      expect(ids).toBe([uid, uid, uid, uid, gid, gid, gid, gid].join(' '));
      expect(capabilities).toBe(DROPPED.capabilities);
    }
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('nobody is served before', async () => {
    using scratch = new Scratch();
    // The last option waits for a client: until then it is root.
    const waits = `--chardev=socket,id=w,path=${scratch.file('waits')},server=on,wait=on`;
    await using daemon = new DaemonProcess([...dropping(scratch, waits)]);
    await until('the last socket', () => scratch.list().includes('waits'));
    using early = await QmpClient.open(scratch.file('qmp'));
    const served = VhostUserFrontEnd.connect(scratch.file('vhost'), { dataBytes: 4096 });
    let answers = 0;
    early.socket.on('data', () => answers++);
    served.then(
      () => answers++,
      () => answers++,
    );
    await new Promise((resolve) => {
      setTimeout(resolve, 100);
    });
    expect(answers).toBe(0);
    using last = await QmpClient.open(scratch.file('waits'));
    await daemon.ready();
    expect(last.events).toEqual([]);
    expect(await early.next()).toMatchObject({ QMP: {} });
    await (await served).close();
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('a stop before that is no reason to wait', async () => {
    using scratch = new Scratch();
    const waits = `--chardev=socket,id=w,path=${scratch.file('waits')},server=on,wait=on`;
    await using daemon = new DaemonProcess([...dropping(scratch, waits)]);
    await until('the last socket', () => scratch.list().includes('waits'));
    expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
    expect(scratch.list()).toEqual(['img']);
  });

  test('a supervised daemon becomes it each time, and still ends with its supervisor', async () => {
    using scratch = new Scratch();
    await using daemon = new DaemonProcess(dropping(scratch, '--supervise'));
    await daemon.ready();
    const supervisor = daemon.child.pid!;
    const dropped = (): number[] =>
      childrenOf(supervisor).filter((pid) => threadsOf(pid).every(({ ids }) => ids === DROPPED.ids));
    const [first] = dropped();
    process.kill(first!, 'SIGKILL');
    await until(
      'a restart',
      () => daemon.stderr.split('ready: 1 export').length === 3,
      () => daemon.stderr,
    );
    const [second] = dropped();
    expect(second).not.toBe(first);
    await daemon.stop('SIGKILL');
    await until('its end', () => !readdirSync('/proc').includes(String(second)));
  });

  test('its mistakes are told before anything is opened', async () => {
    const mistake = async (user: string): Promise<string> => {
      const { code, stderr } = await run(
        '--run-with',
        `user=${user}`,
        '--blockdev=file,node-name=n,filename=/nowhere',
      );
      expect(code).toBe(1);
      expect(stderr.split('\n')).toHaveLength(2);
      return stderr;
    };
    expect(await mistake('nobody-of-that-name')).toContain(
      "--run-with user=nobody-of-that-name: there is no user 'nobody-of-that-name'; give the name of one, or the numbers UID:GID",
    );
    expect(await mistake('4294967295:1')).toContain('there is no user');
    expect(await mistake('1')).toContain('there is no user');
    expect(await mistake('root')).toContain('that is root, which has all privileges');
    expect(await mistake('1:0')).toContain('that is root');
    const { stderr } = await run('--run-with', 'chroot=/tmp');
    expect(stderr).toContain("Parameter 'chroot' is unexpected (known: user)");
  });
});

test('whoever is not root can not become somebody else', async () => {
  using scratch = new Scratch();
  const args = ['--run-with', `user=${UID}:${GID}`, MEMORY, exported(scratch)];
  await using daemon = isRoot ? new DaemonProcess(args, { uid: UID, gid: GID }) : new DaemonProcess(args);
  const { code, stderr } = await daemon.ended();
  expect(code).toBe(1);
  expect(stderr).toBe(
    `iothreads-storage-daemon: --run-with user=${UID}:${GID}: only root can become another user; leave it out, or start the daemon as root\n`,
  );
});
