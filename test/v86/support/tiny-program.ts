const LOAD_ADDRESS = 0x0804_8000;
const HEADERS_BYTES = 52 + 32;
/** A page cache page of its own. */
const FILE_BYTES = 4096;
/** Often enough for v86 to compile it. */
const TURNS = 300_000;

/**
 * A program for Linux on i386 that goes round a loop, which has `status` written into its code, and leaves with that status: one that
 * was run from another one's compiled code gives itself away.
 */
export function tinyProgram(status: number): Buffer {
  const code = Buffer.alloc(24);
  code.set([0xb9], 0); // mov ecx, TURNS
  code.writeUInt32LE(TURNS, 1);
  code.set([0xbb], 5); // again: mov ebx, status
  code.writeUInt32LE(status, 6);
  code.set([0x49], 10); // dec ecx
  code.set([0x75, 0xf8], 11); // jnz again
  code.set([0xb8, 1, 0, 0, 0], 13); // mov eax, 1: exit
  code.set([0xcd, 0x80], 18); // int 0x80

  const file = Buffer.alloc(FILE_BYTES);
  file.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1], 0);
  file.writeUInt16LE(2, 16); // an executable
  file.writeUInt16LE(3, 18); // for i386
  file.writeUInt32LE(1, 20);
  file.writeUInt32LE(LOAD_ADDRESS + HEADERS_BYTES, 24); // entry
  file.writeUInt32LE(52, 28); // where the program headers are
  file.writeUInt16LE(52, 40);
  file.writeUInt16LE(32, 42);
  file.writeUInt16LE(1, 44);
  // One segment: all of the file, to read and execute.
  for (const [i, word] of [1, 0, LOAD_ADDRESS, LOAD_ADDRESS, FILE_BYTES, FILE_BYTES, 5, 4096].entries()) {
    file.writeUInt32LE(word, 52 + 4 * i);
  }
  file.set(code, HEADERS_BYTES);
  return file;
}
