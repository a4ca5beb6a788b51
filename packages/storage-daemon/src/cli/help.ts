import { PROGRAM, QEMU_VERSION, VERSION } from '../program.js';

/** At most 80 columns. */
export const HELP = `Usage: ${PROGRAM} [options]
Serves disks to virtual machines over vhost-user-blk.

Options take effect in the order given: what is referred to stands before.
Values are key=value lists, where ',,' is a comma, or JSON objects.

  -h, --help             display this help and exit
  -V, --version          output version information and exit

  --blockdev [driver=]<driver>,node-name=<N>
             [,read-only=on|off][,auto-read-only=on|off]
             [,discard=ignore|unmap][,cache.direct=on|off]
             [,cache.no-flush=on|off][,<options of the driver>...]
                         make a node, a disk that can be exported

    file,filename=<path>[,aio=threads|native|io_uring][,locking=on|off|auto]
                         a raw image or a block device
    raw,file=<node>[,offset=<bytes>][,size=<bytes>]
                         a part of another node; the child may also be
                         described in place: file.driver=file,file.filename=...
    null-co[,size=<bytes>][,latency-ns=<ns>][,read-zeroes=on|off]
                         a disk that does nothing; null-aio is the same
    memory,size=<bytes>  a disk in memory, gone with the daemon
    module,url=<module>[,options.<name>=<value>...]
                         a disk of your own in TypeScript or JavaScript
    blkdebug,image=<node>[,inject-error.0.<option>=<value>...][,seed=<n>]
                         another node whose requests fail, wait or hang by
                         rules; options of a rule: iotype, sector, sectors,
                         errno, once, count, skip, probability, delay-ns,
                         short-sectors, hang
    blklogwrites,file=<node>,log.driver=file,log.filename=<path>
                         another node whose writes and flushes are recorded,
                         in the format of dm-log-writes

  --export [type=]vhost-user-blk,id=<id>,node-name=<node>,
           addr.type=unix,addr.path=<path>[,addr.mode=<octal>]
           | addr.type=fd,addr.str=<fd>
           [,writable=on|off][,writethrough=on|off]
           [,logical-block-size=512|1024|2048|4096][,num-queues=<n>]
           [,iothread=<id>][,fixed-iothread=on|off]
           [,werror=report|ignore|enospc|stop][,rerror=report|ignore|stop]
                         serve a node at a UNIX domain socket, or at a
                         listening socket that was inherited; only its owner
                         may connect, unless addr.mode says otherwise;
                         iothread.0=<id>,iothread.1=<id> spreads the queues
                         over several iothreads, no iothread means one of the
                         daemon's own; without num-queues a front end gets as
                         many queues as it asks for;
                         werror and rerror say what becomes of writes and reads
                         that the disk fails: the guest is told (report), or
                         told that all is well (ignore), or the export pauses
                         until QMP's cont (stop); enospc pauses where there is
                         no space left, and reports the rest

  --object iothread,id=<id>[,poll-max-ns=<ns>][,poll-grow=<n>]
           [,poll-shrink=<n>][,aio-max-batch=<n>]
                         make an iothread, a thread that serves exports
  --object help          list object types
  --object <type>,help   list the properties of an object type

  --chardev socket,id=<id>,path=<path>[,server=on|off][,wait=on|off]
            [,mode=<octal>]
                         a UNIX domain socket that listens (server=on) or
                         connects; wait=on, the default of a server, waits for
                         its first client
  --chardev stdio,id=<id>
                         standard input and output

  --monitor [chardev=]<id>[,mode=control][,pretty=on|off]
                         a QMP monitor at a character device

  --pidfile <path>       write the process id to a file once all is ready
  --daemonize            detach, and have the parent exit once all is ready
  --run-with user=<name>|<uid>:<gid>
                         become this user, for good, once the options have
                         taken effect and before anybody is served
  --supervise            start the daemon again whenever it crashes

SIGTERM, SIGINT, SIGHUP and QMP's quit end it in good order, with status 0.
`;

const qemu = `${QEMU_VERSION.major}.${QEMU_VERSION.minor}`;
export const VERSION_TEXT = `${PROGRAM} version ${VERSION} (options and QMP of qemu-storage-daemon ${qemu})\n`;

/** What `--object help` and `--object iothread,help` print. */
export const OBJECT_TYPES_HELP = 'List of user creatable objects:\n  iothread\n';
export const IOTHREAD_HELP = `iothread options:
  aio-max-batch=<int>    - accepted, without effect
  poll-grow=<int>        - factor by which polling grows, 0 means 2
  poll-max-ns=<int>      - longest time to poll before sleeping, 0 turns it off
  poll-shrink=<int>      - divisor by which polling shrinks, 0 means to nothing
`;
