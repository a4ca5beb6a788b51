import { BlockOperation, BlockRequest } from '@iothreads/core';

/**
 * The first part of a request, or all of it, as a request of its own for the disk below. Whoever submits it has to give it an
 * owner, and to complete the other one.
 */
export function partOf(request: BlockRequest, byteLength: number = Infinity): BlockRequest {
  const part = new BlockRequest();
  part.operation = request.operation;
  part.pending = true;
  if (request.operation <= BlockOperation.WRITE) {
    part.position = request.position;
    part.data = request.operation === BlockOperation.READ ? part.writable : part.readable;
    const { regions, offsets, lengths, length } = request.data;
    for (let i = 0, left = byteLength; i < length && left > 0; i++) {
      const take = Math.min(lengths[i]!, left);
      part.data.push(regions[i]!, offsets[i]!, take);
      left -= take;
    }
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
