import { describe, expect, test } from 'vitest';
import { blockdevSchemas } from '../dist/options/blockdev-options.js';
import { chardevAddSchema, chardevSchemas } from '../dist/options/chardev-options.js';
import { checkOptions } from '../dist/options/check-options.js';
import { exportSchemas } from '../dist/options/export-options.js';
import { monitorSchemas } from '../dist/options/monitor-options.js';
import { objectSchemas } from '../dist/options/object-options.js';
import { readOption } from '../dist/options/read-option.js';

const blockdev = (text: string) => readOption(blockdevSchemas, text, { impliedKey: 'driver' });
const exported = (text: string) => readOption(exportSchemas, text, { impliedKey: 'type' });
const object = (text: string) => readOption(objectSchemas, text, { impliedKey: 'qom-type' });
const chardev = (text: string) => readOption(chardevSchemas, text, { impliedKey: 'backend', switches: true });
const monitor = (text: string) => readOption(monitorSchemas, text, { impliedKey: 'chardev', switches: true });

const unix = 'addr.type=unix,addr.path=/s';

describe('both ways to write an option mean the same', () => {
  test.each([
    [
      blockdev,
      'file,node-name=a,filename=/x,,y,read-only=on,aio=native,cache.direct=on,discard=on,locking=auto',
      {
        driver: 'file',
        'node-name': 'a',
        filename: '/x,y',
        'read-only': true,
        aio: 'native',
        cache: { direct: true },
        discard: 'on',
        locking: 'auto',
      },
    ],
    [
      blockdev,
      'driver=raw,node-name=r,offset=512,size=1024,file.driver=null-co,file.size=4096,file.read-zeroes=on',
      {
        driver: 'raw',
        'node-name': 'r',
        offset: 512,
        size: 1024,
        file: { driver: 'null-co', size: 4096, 'read-zeroes': true },
      },
    ],
    [
      blockdev,
      'module,node-name=m,url=./d.js,options.a=b,options.c.0=d',
      { driver: 'module', 'node-name': 'm', url: './d.js', options: { a: 'b', c: ['d'] } },
    ],
    [
      blockdev,
      'blkdebug,node-name=d,image=n,seed=7,inject-error.0.event=none,inject-error.0.iotype=write,inject-error.0.errno=28,inject-error.0.sector=8,inject-error.0.once=on,inject-error.1.errno=EROFS,inject-error.1.probability=0.25,inject-error.1.delay-ns=1000',
      {
        driver: 'blkdebug',
        'node-name': 'd',
        image: 'n',
        seed: 7,
        'inject-error': [
          { event: 'none', iotype: 'write', errno: 28, sector: 8, once: true },
          { errno: 'EROFS', probability: 0.25, 'delay-ns': 1000 },
        ],
      },
    ],
    [
      blockdev,
      'blklogwrites,node-name=l,file=n,log.driver=file,log.filename=/x',
      { driver: 'blklogwrites', 'node-name': 'l', file: 'n', log: { driver: 'file', filename: '/x' } },
    ],
    [
      exported,
      `vhost-user-blk,id=e,node-name=n,${unix},writable=on,num-queues=4,logical-block-size=4096,iothread.0=a,iothread.1=b`,
      {
        type: 'vhost-user-blk',
        id: 'e',
        'node-name': 'n',
        addr: { type: 'unix', path: '/s' },
        writable: true,
        'num-queues': 4,
        'logical-block-size': 4096,
        iothread: ['a', 'b'],
      },
    ],
    [
      exported,
      'vhost-user-blk,id=e,node-name=n,addr.type=fd,addr.str=7,iothread=a,fixed-iothread=off',
      {
        type: 'vhost-user-blk',
        id: 'e',
        'node-name': 'n',
        addr: { type: 'fd', str: '7' },
        iothread: 'a',
        'fixed-iothread': false,
      },
    ],
    [object, 'iothread,id=a,poll-max-ns=5', { 'qom-type': 'iothread', id: 'a', 'poll-max-ns': 5 }],
    [
      chardev,
      'socket,id=a,path=/p,server,wait=off',
      { backend: 'socket', id: 'a', path: '/p', server: true, wait: false },
    ],
    [monitor, 'm,mode=control,pretty', { chardev: 'm', mode: 'control', pretty: true }],
  ])('%#', (read: (text: string) => unknown, keyval, json) => {
    expect(read(keyval)).toEqual(read(JSON.stringify(json)));
  });

  test('discard=on is discard=unmap', () => {
    expect(blockdev('file,filename=x,discard=on')).toMatchObject({ discard: 'unmap' });
    expect(blockdev('file,filename=x,discard=off')).toMatchObject({ discard: 'ignore' });
  });

  test.each(['on', 'yes', 'true', 'y'])('%s is on', (word) => {
    expect(blockdev(`null-co,read-only=${word}`)).toMatchObject({ 'read-only': true });
  });
});

describe('a mistake is named', () => {
  test.each([
    [blockdev, '', "Parameter 'driver' is missing"],
    [blockdev, 'nope', "Parameter 'driver' does not accept value 'nope' (known: file, raw,"],
    [blockdev, 'throttle', "Parameter 'driver': this version has no driver 'throttle'"],
    [blockdev, 'file,node-name=a', "Parameter 'filename' is missing"],
    [blockdev, 'file,filename=', "Parameter 'filename' must be a path"],
    [blockdev, 'file,filenam=x', "Parameter 'filenam' is unexpected (known: driver, node-name"],
    [blockdev, 'null-co,toString=x', "Parameter 'toString' is unexpected"],
    [
      blockdev,
      'null-co,size=1G',
      "Parameter 'size' expects integer, a plain number without a unit, got '1G'",
    ],
    [blockdev, 'null-co,size=', "Parameter 'size' expects integer"],
    [blockdev, 'null-co,size=1000', "Parameter 'size' must be a positive multiple of 512 (bytes)"],
    [blockdev, 'file,filename=x,aio=%', "Parameter 'aio' does not accept value '%' (known: threads"],
    [blockdev, 'raw,file.size=1', "Parameter 'file.driver' is missing"],
    [blockdev, '{"driver":"raw","file":5}', "Invalid parameter type for 'file', expected: object"],
    [blockdev, '{"driver":5}', "Invalid parameter type for 'driver', expected: string"],
    [blockdev, 'null-co,size=-1', "Parameter 'size' expects an integer from 0"],
    [blockdev, 'null-co,size=9007199254740993', "Parameter 'size' expects an integer from 0"],
    [blockdev, 'null-co,size.a=1', "Invalid parameter type for 'size', expected: integer"],
    [blockdev, 'null-co,read-only=1', "Parameter 'read-only' expects 'on' or 'off', got '1'"],
    [blockdev, 'null-co,detect-zeroes=on', "Parameter 'detect-zeroes' can't be switched on"],
    [blockdev, 'null-co,force-share=on', "Parameter 'force-share' can't be switched on"],
    [blockdev, 'null-co,cache.foo=on', "Parameter 'cache.foo' is unexpected (known: direct, no-flush)"],
    [blockdev, 'null-co,cache=on', "Invalid parameter type for 'cache', expected: object"],
    [blockdev, 'null-co,node-name=1a', "Parameter 'node-name' is no valid node name: '1a'"],
    [blockdev, `null-co,node-name=${'a'.repeat(32)}`, 'at most 31 characters'],
    [
      blockdev,
      'file,filename=x,aio=zz',
      "Parameter 'aio' does not accept value 'zz' (known: threads, native",
    ],
    [blockdev, 'blkdebug', "Parameter 'image' is missing"],
    [blockdev, 'blkdebug,image=n,inject-error=5', "Parameter 'inject-error' must be a list"],
    [
      blockdev,
      'blkdebug,image=n,inject-error.0.iotype=erase',
      "Parameter 'inject-error.0.iotype' does not accept value 'erase' (known: read, write,",
    ],
    [
      blockdev,
      'blkdebug,image=n,inject-error.0.errno=ENOPE',
      "Parameter 'inject-error.0.errno' must be the number of an error, or one of EIO, ENOSPC",
    ],
    [
      blockdev,
      'blkdebug,image=n,inject-error.0.probability=2',
      "Parameter 'inject-error.0.probability' expects a number from 0 to 1, got 2",
    ],
    [
      blockdev,
      '{"driver":"blkdebug","image":"n","inject-error":[{"event":"read_aio"}]}',
      "Parameter 'inject-error.0.event' does not accept value 'read_aio' (known: none)",
    ],
    [blockdev, 'blklogwrites,file=n', "Parameter 'log' is missing"],
    [blockdev, 'blklogwrites,file=n,log=m', "Invalid parameter type for 'log', expected: object"],
    [blockdev, 'raw', "Parameter 'file' is missing"],
    [blockdev, 'raw,file.driver=nope', "Parameter 'file.driver' does not accept value 'nope'"],
    [blockdev, 'raw,file.driver=file,file.filename=x,file.foo=3', "Parameter 'file.foo' is unexpected"],
    [blockdev, 'raw,file.driver=raw,file.file.driver=file', "Parameter 'file.file.filename' is missing"],
    [blockdev, '{"driver":"null-co","size":"5"}', "Invalid parameter type for 'size', expected: integer"],
    [blockdev, '{"driver":"null-co","size":1.5}', "Parameter 'size' expects integer"],
    [
      blockdev,
      '{"driver":"null-co","read-only":"on"}',
      "Invalid parameter type for 'read-only', expected: boolean",
    ],
    [blockdev, '{"driver":"null-co","driver":"file"}', 'duplicate key'],
    [blockdev, '{"driver":"null-co",}', 'JSON parse error'],
    [blockdev, '{"driver":"null-co","__proto__":{}}', "Parameter '__proto__' is unexpected"],
    [exported, 'nbd,id=e', "Parameter 'type' does not accept value 'nbd' (known: vhost-user-blk)"],
    [exported, 'vhost-user-blk,id=e', "Parameter 'node-name' is missing"],
    [exported, 'vhost-user-blk,id=e,node-name=n', "Parameter 'addr' is missing"],
    [exported, 'vhost-user-blk,id=e,node-name=n,addr.path=x', "Parameter 'addr.type' is missing"],
    [exported, 'vhost-user-blk,id=e,node-name=n,addr.type=unix', "Parameter 'addr.path' is missing"],
    [exported, 'vhost-user-blk,id=e,node-name=n,addr.type=inet', "'addr.type' does not accept value 'inet'"],
    [exported, 'vhost-user-blk,id=e,node-name=n,addr.type=fd,addr.str=x', "Parameter 'addr.str' must be"],
    [exported, `vhost-user-blk,id=e!,node-name=n,${unix}`, "Parameter 'id' is no valid id: 'e!'"],
    [
      exported,
      `vhost-user-blk,id=e,node-name=n,${unix},num-queues=0`,
      "'num-queues' expects an integer from 1 to",
    ],
    [exported, `vhost-user-blk,id=e,node-name=n,${unix},logical-block-size=100`, 'must be one of 512, 1024'],
    [object, 'nope,id=a', "Parameter 'qom-type' does not accept value 'nope' (known: iothread)"],
    [object, 'throttle-group,id=a', "this version has no object type 'throttle-group'"],
    [object, 'iothread', "Parameter 'id' is missing"],
    [object, 'iothread,id=a,poll-max-ns=-1', "Parameter 'poll-max-ns' expects an integer from 0"],
    [chardev, 'stdio', "Parameter 'id' is missing"],
    [chardev, 'nope,id=a', "Parameter 'backend' does not accept value 'nope' (known: socket, stdio)"],
    [chardev, 'socket,id=a', "Parameter 'path' is missing"],
    [chardev, 'socket,id=a,path=x,foo=1', "Parameter 'foo' is unexpected"],
    [monitor, 'a,mode=readline', "Parameter 'mode' must be control: only QMP is supported"],
  ])('%#: %s', (read: (text: string) => unknown, text, message) => {
    expect(() => read(text)).toThrow(message);
  });

  test('chardev-add has its own shape', () => {
    const addr = { type: 'unix', data: { path: '/p' } };
    const add = (backend: unknown) => checkOptions(chardevAddSchema, { id: 'c', backend });
    expect(add({ type: 'socket', data: { addr } })).toEqual({
      backend: 'socket',
      id: 'c',
      path: '/p',
      server: true,
      wait: false,
    });
    expect(add({ type: 'stdio', data: {} })).toEqual({ backend: 'stdio', id: 'c' });
    expect(() => add({ type: 'socket', data: { addr, wait: true } })).toThrow(
      "'backend.data.wait' can't be true",
    );
    expect(() => add({ type: 'socket', data: { addr: { type: 'inet' } } })).toThrow(
      "'backend.data.addr.type'",
    );
    expect(() => add({ type: 'pty' })).toThrow("'backend.type' does not accept value 'pty'");
    expect(() => add(5)).toThrow("'backend");
  });
});
