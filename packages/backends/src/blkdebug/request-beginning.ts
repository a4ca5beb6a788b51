import { BlockOperation, BlockRequest } from '@iothreads/core';

/**
 * The first part of a request, as a request of its own for the disk below.
 * @returns undefined where no byte of it is to be done
 */
export function beginningOf(request: BlockRequest, byteLength: number): BlockRequest | undefined {
  if (byteLength === 0 || request.operation === BlockOperation.FLUSH) return undefined;
  const part = new BlockRequest();
  part.operation = request.operation;
  if (request.operation <= BlockOperation.WRITE) {
    part.position = request.position;
    part.data = request.operation === BlockOperation.READ ? part.writable : part.readable;
    const { regions, offsets, lengths, length } = request.data;
    for (let i = 0, left = byteLength; i < length && left > 0; i++) {
      const take = Math.min(lengths[i]!, left);
      part.data.push(regions[i]!, offsets[i]!, take);
      left -= take;
    }
    return part;
  }
  for (let i = 0, left = byteLength; i < request.rangeCount && left > 0; i++) {
    const take = Math.min(request.rangeLengths[i]!, left);
    part.rangePositions.push(request.rangePositions[i]!);
    part.rangeLengths.push(take);
    part.rangeUnmaps.push(request.rangeUnmaps[i] ?? 0);
    part.rangeCount++;
    left -= take;
  }
  return part;
}
