/*
 * Reads blocks of a disk past the page cache, one at a time, in a guest without a C library (Linux on i386):
 *
 *     disk-read DEVICE BLOCK_BYTES COUNT SPAN_BLOCKS SEED
 *
 * SEED 0 reads in order. Tells the host through descriptor 3 when it begins and when it has ended.
 */

enum { SYS_EXIT = 1, SYS_WRITE = 4, SYS_OPEN = 5, SYS_PREAD64 = 180 };
enum { O_DIRECT = 040000, TALK = 3 };

static char buffer[1 << 20] __attribute__((aligned(4096)));

static long syscall5(long number, long a, long b, long c, long d, long e) {
  long result;
  __asm__ volatile("int $0x80"
                   : "=a"(result)
                   : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
                   : "memory");
  return result;
}

static void leave(int status) {
  for (;;) syscall5(SYS_EXIT, status, 0, 0, 0, 0);
}

static void tell(const char *line) {
  long length = 0;
  while (line[length] != 0) length++;
  if (syscall5(SYS_WRITE, TALK, (long)line, length, 0, 0) != length) leave(4);
}

static unsigned number(const char *text) {
  unsigned value = 0;
  for (; *text != 0; text++) value = value * 10 + (unsigned)(*text - '0');
  return value;
}

__attribute__((used)) static void run(long *stack) {
  char **arguments = (char **)(stack + 1);
  if (stack[0] != 6) leave(2);
  const unsigned block_bytes = number(arguments[2]);
  const unsigned count = number(arguments[3]);
  const unsigned span = number(arguments[4]);
  unsigned state = number(arguments[5]);
  const int random = state != 0;
  const long disk = syscall5(SYS_OPEN, (long)arguments[1], O_DIRECT, 0, 0, 0);
  if (disk < 0 || block_bytes > sizeof buffer || span == 0) leave(3);
  tell("RESULT began 1\n");
  for (unsigned i = 0; i < count; i++) {
    unsigned block = i % span;
    if (random) {
      state ^= state << 13;
      state ^= state >> 17;
      state ^= state << 5;
      block = state % span;
    }
    const unsigned long long offset = (unsigned long long)block * block_bytes;
    const long got = syscall5(SYS_PREAD64, disk, (long)buffer, block_bytes, (long)(unsigned)offset, (long)(offset >> 32));
    if (got != (long)block_bytes) leave(5);
  }
  tell("RESULT ended 1\n");
  leave(0);
}

__asm__(".globl _start\n_start: mov %esp, %eax\n push %eax\n call run\n");
