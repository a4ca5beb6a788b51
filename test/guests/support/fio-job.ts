/** What a guest's fio does to `/dev/vdb`. */
export interface FioLoad {
  readonly rw: string;
  readonly bsrange: string;
  /** Jobs, each on a processor of its own. */
  readonly jobs: number;
  /** What each job works on, behind the one before. */
  readonly sizeBytes: number;
  /** More lines of its file. */
  readonly more?: string;
}

/** A job file, by which fio writes and reads in disorder, many requests at a time, and verifies every block. */
export const fioJob = ({ rw, bsrange, jobs, sizeBytes, more = '' }: FioLoad): string => `[global]
thread
filename=/dev/vdb
direct=1
ioengine=libaio
iodepth=32
rw=${rw}
bsrange=${bsrange}
size=${sizeBytes}
offset_increment=${sizeBytes}
cpus_allowed=0-${jobs - 1}
cpus_allowed_policy=split
verify=crc32c
verify_fatal=1
verify_backlog=64
${more}
[disorder]
numjobs=${jobs}`;
