import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseCommandLine } from '../dist/cli/command-line.js';
import { HELP, VERSION_TEXT } from '../dist/cli/help.js';

const parsed = (...args: string[]): string[] =>
  parseCommandLine(args).map(({ name, value }) => (value === '' ? name : `${name}:${value}`));

describe('a command line', () => {
  test('keeps its order', () => {
    expect(
      parsed('--export', 'e', '--blockdev=b', '--pidfile', 'p', '--daemonize', '--blockdev', 'c'),
    ).toEqual(['export:e', 'blockdev:b', 'pidfile:p', 'daemonize', 'blockdev:c']);
  });

  test('abbreviates options', () => {
    expect(parsed('--bl', 'b', '--e=x', '--chard=y', '--daemon')).toEqual([
      'blockdev:b',
      'export:x',
      'chardev:y',
      'daemonize',
    ]);
  });

  test('takes values that look like options, and empty ones', () => {
    expect(parsed('--pidfile', '--blockdev', '--pidfile=')).toEqual(['pidfile:--blockdev', 'pidfile']);
    expect(parsed('--blockdev=a=b=c')).toEqual(['blockdev:a=b=c']);
  });

  test('has short options', () => {
    expect(parsed('-h')).toEqual(['help']);
    expect(parsed('-V', '-Tfoo', '-T', 'bar')).toEqual(['version', 'trace:foo', 'trace:bar']);
    expect(parsed('-hV')).toEqual(['help', 'version']);
  });

  test('ends with two dashes', () => {
    expect(parsed('--daemonize', '--')).toEqual(['daemonize']);
  });

  test.each([
    [['foo'], 'foo: Unexpected argument'],
    [['-'], '-: Unexpected argument'],
    [['--', 'foo'], 'foo: Unexpected argument'],
    [['--bogus'], "unrecognized option '--bogus'"],
    [['--blockdevs=x'], "unrecognized option '--blockdevs'"],
    [['--=x'], "unrecognized option '--'"],
    [['--blockdev'], "option '--blockdev' requires an argument"],
    [['--e'], "option '--export' requires an argument"],
    [['--help=3'], "option '--help' doesn't allow an argument"],
    [['-x'], "invalid option -- 'x'"],
    [['-T'], "option '--trace' requires an argument"],
    [['-constructor'], "invalid option -- 'c'"],
  ])('%j is a mistake', (args, message) => {
    expect(() => parseCommandLine(args)).toThrow(`${message}; --help lists the options`);
  });

  test('is explained in 80 columns, every option of it', () => {
    for (const line of HELP.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
    const options = [
      'blockdev',
      'chardev',
      'daemonize',
      'export',
      'help',
      'monitor',
      'object',
      'pidfile',
      'version',
    ];
    for (const option of options) expect(HELP).toContain(`--${option}`);
  });
});

test('the version is that of the package', () => {
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(manifest) as { version: string };
  expect(VERSION_TEXT).toContain(`iothreads-storage-daemon version ${version} `);
});
