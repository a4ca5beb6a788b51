/** A disk of the bench: the options that both daemons get. */
export interface BenchDisk {
  readonly name: string;
  /** `--blockdev` without the node's name. */
  readonly blockdev: string;
  readonly operations: readonly ('read' | 'write')[];
}

const NULL_BYTES = 2 ** 30;

export const nullDisk = (latencyNs: number): string =>
  `driver=null-co,size=${NULL_BYTES},latency-ns=${latencyNs},read-zeroes=off`;
/** Both daemons have the same image, each when its turn comes: no two files are equally quick. A lock would keep one of them out. */
export const fileDisk = (filename: string, direct: boolean): string =>
  `driver=file,filename=${filename},locking=off,aio=io_uring,cache.direct=${direct ? 'on' : 'off'}`;

/** What `npm run bench:daemon` compares. */
export const benchDisks = (filename: string): readonly BenchDisk[] => [
  { name: 'null-co', blockdev: nullDisk(0), operations: ['read', 'write'] },
  { name: 'null-co 30 us', blockdev: nullDisk(30_000), operations: ['read', 'write'] },
  { name: 'cached file', blockdev: fileDisk(filename, false), operations: ['read', 'write'] },
  { name: 'direct file', blockdev: fileDisk(filename, true), operations: ['read', 'write'] },
];

/** Options of a daemon whose exports are all served by one iothread, in the order of the disks. */
export function daemonArguments(
  blockdevs: readonly string[],
  sockets: readonly string[],
  iothreads = 1,
): string[] {
  const args: string[] = [];
  for (let i = 0; i < iothreads; i++) args.push('--object', `iothread,id=iothread${i}`);
  for (const [index, blockdev] of blockdevs.entries()) {
    args.push('--blockdev', `${blockdev},node-name=disk${index}`);
    args.push(
      '--export',
      `type=vhost-user-blk,id=export${index},node-name=disk${index},writable=on,` +
        `addr.type=unix,addr.path=${sockets[index]!},iothread=iothread${index % iothreads}`,
    );
  }
  return args;
}
