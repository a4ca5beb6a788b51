import { expect, test } from 'vitest';
import { Log } from '../dist/log.js';

test('a message is one line, whatever is in it', () => {
  const lines: string[] = [];
  const log = new Log((line) => lines.push(line));
  log.write('warning', "node 'a\n\u001b[2Jb': odd");
  log.fatal('--blockdev x\r\ny: no');
  expect(lines).toEqual([
    "iothreads-storage-daemon: warning: node 'a [2Jb': odd\n",
    'iothreads-storage-daemon: --blockdev x y: no\n',
  ]);
});

test('a guest can not flood the log', () => {
  const lines: string[] = [];
  const log = new Log((line) => lines.push(line));
  let now = 0;
  const limited = log.limited(() => now);
  for (let i = 0; i < 1000; i++) limited('info', `message ${i}`);
  expect(lines).toHaveLength(20);
  now = 1000;
  limited('info', 'later');
  expect(lines.slice(20)).toEqual(['iothreads-storage-daemon: info: later (980 messages before left out)\n']);
});

test('a log that can not be written is made up for, not died of', () => {
  const lines: string[] = [];
  let broken = true;
  const log = new Log((line) => {
    if (broken) throw new Error('EAGAIN');
    lines.push(line);
  });
  log.write('info', 'lost');
  log.write('info', 'lost');
  broken = false;
  log.write('info', 'written');
  expect(lines).toEqual([
    'iothreads-storage-daemon: warning: 2 lines could not be written\niothreads-storage-daemon: info: written\n',
  ]);
});
