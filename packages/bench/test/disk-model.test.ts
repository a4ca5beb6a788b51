import { describe, expect, test } from 'vitest';
import { BLOCK_BYTES, DiskModel } from '../dist/stress/disk-model.js';

const buffer = (blocks: number): Uint8Array => new Uint8Array(blocks * BLOCK_BYTES);

describe('the model that stress runs check disks against', () => {
  test('accepts what was written, and zeroes before', () => {
    const model = new DiskModel(8);
    const data = buffer(2);
    model.check(3, 2, data, 'fresh');
    const generation = model.compose(3, 2, data);
    model.wrote(3, 2, generation);
    model.check(3, 2, data, 'written');
  });

  test('finds a write that was lost', () => {
    const model = new DiskModel(8);
    model.wrote(0, 1, model.compose(0, 1, buffer(1)));
    expect(() => model.check(0, 1, buffer(1), 'lost')).toThrow(/lost: block 0, word 0/);
  });

  test('finds an old write that came through again', () => {
    const model = new DiskModel(8);
    const old = buffer(1);
    model.wrote(0, 1, model.compose(0, 1, old));
    model.wrote(0, 1, model.compose(0, 1, buffer(1)));
    expect(() => model.check(0, 1, old, 'old')).toThrow(/old: block 0/);
  });

  test('finds a block in the place of another', () => {
    const model = new DiskModel(8);
    const data = buffer(1);
    const generation = model.compose(5, 1, data);
    model.wrote(5, 1, generation);
    model.wrote(6, 1, generation);
    expect(() => model.check(6, 1, data, 'misplaced')).toThrow(/misplaced: block 6/);
  });

  test('finds a single wrong byte', () => {
    const model = new DiskModel(8);
    const data = buffer(1);
    model.wrote(1, 1, model.compose(1, 1, data));
    data[BLOCK_BYTES - 1]! ^= 1;
    expect(() => model.check(1, 1, data, 'flipped')).toThrow(/word 1023/);
  });

  test('asks nothing of a discarded block until it is written again', () => {
    const model = new DiskModel(8);
    model.discarded(2, 1);
    model.check(2, 1, buffer(1).fill(7), 'discarded');
    model.zeroed(2, 1);
    expect(() => model.check(2, 1, buffer(1).fill(7), 'zeroed')).toThrow(/zeroed: block 2/);
  });

  test('keeps requests off blocks that another touches', () => {
    const model = new DiskModel(8);
    expect(model.claim(2, 3)).toBe(true);
    expect(model.claim(4, 1)).toBe(false);
    model.release(2, 3);
    expect(model.claim(4, 1)).toBe(true);
  });
});
