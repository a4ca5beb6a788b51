import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { run } from './support/daemon-process.js';
import { Scratch } from './support/scratch.js';

const NULL = ['--blockdev', 'null-co,node-name=n'];

/** Runs a daemon that must end with one line on stderr and status 1, and leave nothing in its directory. */
async function mistake(scratch: Scratch, ...args: readonly string[]): Promise<string> {
  const before = scratch.list();
  const { code, stdout, stderr } = await run(...args);
  expect({ code, stdout }, stderr).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(/^iothreads-storage-daemon: [^\n]+\n$/);
  expect(stderr).not.toMatch(/ {4}at |node:internal|\.js:\d/);
  expect(scratch.list()).toEqual(before);
  return stderr.slice('iothreads-storage-daemon: '.length, -1);
}

describe('a mistake is one line and status 1, and leaves nothing behind', () => {
  test.each([
    ['a word without an option', ['foo'], 'foo: Unexpected argument; --help lists the options'],
    ['an unknown option', ['--bogus'], "unrecognized option '--bogus'; --help lists the options"],
    ['no value', ['--blockdev'], "option '--blockdev' requires an argument; --help lists the options"],
    [
      'an unknown driver',
      ['--bl', 'nope,node-name=a'],
      "--bl nope,node-name=a: Parameter 'driver' does not accept value 'nope' (known: file, raw, null-co, null-aio, memory, module, blkdebug, blklogwrites)",
    ],
    [
      'no node name',
      ['--blockdev=null-co'],
      "--blockdev=null-co: 'node-name' must be specified for the root node",
    ],
    [
      'an unknown iothread',
      [
        ...NULL,
        '--export',
        'vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path=/nonexistent/s,iothread=x',
      ],
      'iothread "x" not found; an object iothread,id=x has to be made before',
    ],
    ['an unknown chardev', ['--monitor', 'm'], '--monitor m: chardev "m" not found'],
    ['an NBD server', ['--nbd-server', 'addr.type=unix'], 'this version has no NBD server'],
    ['a throttle group', ['--object', 'throttle-group,id=t'], "no object type 'throttle-group'"],
    ['trace events', ['--trace', 'x'], 'this daemon has no trace events'],
    [
      "the daemon's own iothread",
      ['--object', 'iothread,id=main-loop'],
      "id 'main-loop' is that of the daemon's own",
    ],
    [
      'an id that is taken',
      ['--object', 'iothread,id=a', '--object', 'iothread,id=a'],
      "--object iothread,id=a: attempt to add duplicate property 'a'",
    ],
    ['stdio for a daemon', ['--chardev', 'stdio,id=a', '--daemonize'], 'cannot use stdio with --daemonize'],
    [
      'a line break in an option',
      ['--blockdev', 'null-co\n,x=1'],
      "--blockdev null-co ,x=1: Parameter 'driver'",
    ],
    [
      'a pidfile that has no directory',
      ['--pidfile', '/nonexistent/p'],
      '--pidfile /nonexistent/p: cannot create it: No such file',
    ],
  ])('%s', async (_, args, message) => {
    using scratch = new Scratch();
    expect(await mistake(scratch, ...args)).toContain(message);
  });

  test('nodes', async () => {
    using scratch = new Scratch();
    const missing = scratch.file('missing.img');
    expect(await mistake(scratch, '--blockdev', `file,node-name=a,filename=${missing}`)).toContain(missing);
    expect(await mistake(scratch, ...NULL, ...NULL)).toContain("Duplicate nodes with node-name='n'");
    expect(await mistake(scratch, '--blockdev', 'raw,node-name=r,file=x')).toContain("nor node-name='x'");
    expect(await mistake(scratch, '--blockdev', 'null-co,node-name=a,size=5')).toContain('multiple of 512');
    expect(await mistake(scratch, '--blockdev', 'memory,node-name=a,size=9007199254740480')).toContain(
      'allocate',
    );
    expect(
      await mistake(scratch, ...NULL, '--blockdev', 'raw,node-name=r,file=n,offset=1073741824,size=512'),
    ).toContain('--blockdev raw,node-name=r,file=n,offset=1073741824,size=512: ');
  });

  test('exports', async () => {
    using scratch = new Scratch();
    const socket = scratch.file('s');
    const at = `addr.type=unix,addr.path=${socket}`;
    const serve = (more: string): string[] => ['--export', `vhost-user-blk,id=e,node-name=n,${at}${more}`];
    expect(await mistake(scratch, ...serve(''), ...NULL)).toContain("node-name='n'");
    expect(
      await mistake(scratch, '--blockdev', 'null-co,node-name=n,read-only=on', ...serve(',writable=on')),
    ).toContain("Cannot export read-only node 'n' as writable: leave writable=on out of export 'e'");
    // Made and removed again: the second export has the mistake.
    expect(await mistake(scratch, ...NULL, ...serve(''), ...serve(''))).toContain(
      "Block export id 'e' is already in use",
    );
    expect(
      await mistake(
        scratch,
        ...NULL,
        '--object=iothread,id=a',
        '--object=iothread,id=b',
        ...serve(',num-queues=1,iothread.0=a,iothread.1=b'),
      ),
    ).toContain("Parameter 'num-queues' is 1, but 2 iothreads");
    const long = `addr.type=unix,addr.path=${scratch.file('x'.repeat(120))}`;
    expect(await mistake(scratch, ...NULL, '--export', `vhost-user-blk,id=e,node-name=n,${long}`)).toMatch(
      /: socket path .* has \d+ bytes, more than 107/,
    );
    expect(
      await mistake(scratch, ...NULL, '--export', 'vhost-user-blk,id=e,node-name=n,addr.type=fd,addr.str=99'),
    ).toContain('99');
  });

  test('sockets that somebody listens at, or that are none', async () => {
    using scratch = new Scratch();
    const path = scratch.file('s');
    const server = createServer().listen(path);
    await once(server, 'listening');
    try {
      expect(await mistake(scratch, '--chardev', `socket,id=m,path=${path},server=on`)).toContain(
        'is in use by another process; stop it, or use another path',
      );
      expect(
        await mistake(
          scratch,
          ...NULL,
          '--export',
          `vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path=${path}`,
        ),
      ).toContain(path);
    } finally {
      server.close();
    }
    const file = scratch.file('f');
    writeFileSync(file, 'precious');
    expect(await mistake(scratch, '--chardev', `socket,id=m,path=${file},server=on`)).toContain(
      'is no socket',
    );
    expect(await mistake(scratch, '--chardev', `socket,id=m,path=${scratch.file('none')}`)).toContain(
      'No such file or directory',
    );
    expect(await mistake(scratch, '--chardev', `socket,id=m,path=${'/x'.repeat(60)},server=on`)).toContain(
      'is too long: 120 bytes, at most 107 are possible',
    );
  });

  test('a pidfile of a process that runs, or of something else', async () => {
    using scratch = new Scratch();
    const pidfile = scratch.file('pid');
    const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    try {
      writeFileSync(pidfile, `${other.pid}\n`);
      expect(await mistake(scratch, '--pidfile', pidfile)).toBe(
        `--pidfile ${pidfile}: process ${other.pid} has it and is running; stop that one, or use another file`,
      );
    } finally {
      other.kill();
    }
    writeFileSync(pidfile, 'my diary\n');
    expect(await mistake(scratch, '--pidfile', pidfile)).toContain('is no pidfile');
    expect(existsSync(pidfile)).toBe(true);
  });
});

describe('what is printed instead of starting', () => {
  test.each([
    [['--help'], /^Usage: iothreads-storage-daemon [^]*--blockdev/],
    [['-h', '--bogus-value-of-nothing=1'], undefined],
    [['--blockdev', 'nope', '-V'], /^iothreads-storage-daemon version \d+\.\d+\.\d+ /],
    [['--object', 'help'], /^List of user creatable objects:\n {2}iothread\n$/],
    [['--object', 'iothread,help'], /^iothread options:\n[^]*poll-max-ns=<int>/],
  ])('%j', async (args, pattern) => {
    const { code, stdout, stderr } = await run(...args);
    if (pattern === undefined) {
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      return;
    }
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(pattern);
  });
});
