import type { DriverErrorReport } from '@iothreads/iothread';
import { expect, test } from 'vitest';
import { sha256 } from '../../guests/support/image.js';
import { fixture } from '../../support/fixture.js';
import { totals } from '../../support/statistics.js';
import type { Scene } from '../support/scene.js';

const PAGE = 4096;
const DISK_BYTES = 1 << 20;
/** The page that fails. */
const BAD = 8;
const DATA_BYTES = 4 * 65536;

export function failingDisks(scene: () => Scene): void {
  test('fails what it must, and serves the rest, and all when it is in order again', async () => {
    const bytes = new SharedArrayBuffer(DISK_BYTES);
    const words = new Int32Array(new SharedArrayBuffer(4));
    const other = new SharedArrayBuffer(DISK_BYTES);
    const disk = { bytes, state: words.buffer, from: BAD * PAGE, to: (BAD + 1) * PAGE };
    await using machine = await scene().machine({
      disks: [
        { id: 'vda', drive: { driver: 'module', url: fixture('failing-disk.mjs'), options: disk } },
        { id: 'vdb', drive: { driver: 'memory', buffer: other } },
      ],
      answers: {
        break: () => void Atomics.store(words, 0, 1),
        repair: () => void Atomics.store(words, 0, 0),
      },
    });
    const told = await machine.guest.run(`
      # The words of a command that fails.
      fails() { if "$@" 2>/tmp/said; then echo it succeeded; else head -n 1 /tmp/said; fi; }
      page() { dd if=$1 bs=${PAGE} skip=$2 count=$3 \${4:-}; }
      dd if=/dev/urandom of=/tmp/data bs=64k count=4
      dd if=/tmp/data of=/dev/vda bs=64k oflag=direct
      ask break
      dd if=/tmp/data of=/dev/vdb bs=${PAGE} oflag=direct & neighbour=$!
      result reading "$(fails dd if=/dev/vda of=/dev/null bs=${PAGE} skip=${BAD} count=1 iflag=direct)"
      result cached "$(fails dd if=/dev/vda of=/dev/null bs=${PAGE} skip=${BAD} count=1)"
      result writing "$(fails dd if=/tmp/data of=/dev/vda bs=${PAGE} seek=${BAD} count=1 oflag=direct)"
      for page in $(seq 0 ${BAD - 1}) $(seq ${BAD + 1} 20); do
        page /dev/vda $page 1 iflag=direct >/tmp/read
        page /tmp/data $page 1 >/tmp/expected
        cmp /tmp/read /tmp/expected
      done 2>/dev/null
      dd if=/tmp/data of=/dev/vda bs=${PAGE} skip=1 seek=$((${BAD} + 1)) count=1 oflag=direct
      wait $neighbour
      ask repair
      dd if=/tmp/data of=/dev/vda bs=64k oflag=direct
      forget
      result read $(page /dev/vda 0 64 | sum)
      result written $(sum /tmp/data)
    `);
    for (const what of ['reading', 'cached', 'writing'])
      expect(told.text(what)).toMatch(/Input\/output error/);
    expect(told.text('read')).toBe(told.text('written'));
    for (const buffer of [bytes, other]) {
      expect(sha256(new Uint8Array(buffer).subarray(0, DATA_BYTES))).toBe(told.text('written'));
    }
    const { errors } = await totals(machine.runtime, 'vda');
    expect(errors).toBeGreaterThanOrEqual(3);
    const reports = machine.errors as DriverErrorReport[];
    expect(reports.reduce((sum, { suppressed }) => sum + 1 + suppressed, 0)).toBeLessThanOrEqual(errors);
    expect(new Set(reports.map(({ message }) => message))).toEqual(new Set(['out of order']));
    expect(await totals(machine.runtime, 'vdb')).toMatchObject({ errors: 0 });
  });
}
