import type { GuestKit } from './guest-kit.js';

interface GuestDisk {
  /** Path of the vhost-user socket. */
  readonly socket: string;
  /** Default 1. */
  readonly queues?: number;
  /** QEMU connects again when the other side has gone away. Default false. */
  readonly reconnects?: boolean;
}

export interface GuestMachine {
  /** In the guest they are vda, vdb and so on. */
  readonly disks: readonly GuestDisk[];
  /** Default 1. */
  readonly vcpus?: number;
}

/** What boots `kit` with a console on its output and a second serial port at the socket `talk`. */
export function qemuArguments(machine: GuestMachine, kit: GuestKit, initrd: string, talk: string): string[] {
  const vcpus = machine.vcpus ?? 1;
  // Without the processor's random numbers a guest gathers its own for seconds before it makes a file system.
  const args = ['-accel', 'tcg', '-cpu', 'qemu64,+rdrand', '-nodefaults', '-display', 'none'];
  args.push('-machine', 'q35,memory-backend=mem');
  args.push('-object', 'memory-backend-memfd,id=mem,size=256M,share=on', '-m', '256M', '-smp', `${vcpus}`);
  // The kernel tests its ciphers for a second, unless told not to.
  const commandLine = 'console=ttyS0 quiet panic=-1 cryptomgr.notests';
  args.push('-no-reboot', '-kernel', kit.kernel, '-initrd', initrd, '-append', commandLine);
  args.push('-serial', 'stdio', '-chardev', `socket,id=talk,path=${talk}`, '-serial', 'chardev:talk');
  machine.disks.forEach(({ socket, queues = 1, reconnects = false }, index) => {
    args.push('-chardev', `socket,id=disk${index},path=${socket}${reconnects ? ',reconnect=1' : ''}`);
    args.push('-device', `vhost-user-blk-pci,chardev=disk${index},num-queues=${queues}`);
  });
  return args;
}
