const LOAD_ADDRESS = 0x0804_8000;
const HEADERS_BYTES = 52 + 32;
const PAGE_BYTES = 4096;
/** The page behind the program. */
const BUFFER = LOAD_ADDRESS + PAGE_BYTES;
/** Often enough for v86 to compile it. */
const TURNS = 300_000;
const long = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

/** Machine code for i386, each page of it a function: it goes round a loop that has its number written into it, and returns that, from 1 on. */
export function codePages(pages: number): Uint8Array {
  const disk = new Uint8Array(pages * PAGE_BYTES);
  for (let page = 0; page < pages; page++) {
    const code = [
      [0xb9, ...long(TURNS)], // mov ecx, TURNS
      [0xb8, ...long(page + 1)], // again: mov eax, number
      [0x49, 0x75, 0xf8], // dec ecx; jnz again
      [0xc3], // ret
    ];
    disk.set(code.flat(), page * PAGE_BYTES);
  }
  return disk;
}

/**
 * A program for Linux on i386 that reads such pages from `/dev/vda`, past all caches, one after the other into the same page of its
 * memory, and calls each. It leaves with 0, or with the number of a page that returned another one's, or with an error of the disk's.
 */
export function codeReader(): Buffer {
  const path = '/dev/vda\0';
  const code = [
    [0xb8, ...long(5)], // mov eax, 5: open
    [0xbb, ...long(LOAD_ADDRESS + HEADERS_BYTES)], // mov ebx, path
    [0xb9, ...long(0x4000)], // mov ecx, O_DIRECT
    [0x31, 0xd2, 0xcd, 0x80], // xor edx, edx; int 80h
    [0x89, 0xc5, 0x31, 0xff], // mov ebp, eax; xor edi, edi
    [0xb8, ...long(3), 0x89, 0xeb], // next: mov eax, 3: read; mov ebx, ebp
    [0xb9, ...long(BUFFER), 0xba, ...long(PAGE_BYTES), 0xcd, 0x80], // mov ecx, BUFFER; mov edx, PAGE_BYTES; int 80h
    [0x3d, ...long(PAGE_BYTES), 0x75, 0x10], // cmp eax, PAGE_BYTES; jne end
    [0xbe, ...long(BUFFER), 0xff, 0xd6], // mov esi, BUFFER; call esi
    [0x47, 0x39, 0xf8, 0x74, 0xda], // inc edi; cmp eax, edi; je next
    [0x89, 0xfb, 0xeb, 0x02], // mov ebx, edi; jmp exit
    [0x89, 0xc3], // end: mov ebx, eax
    [0xb8, ...long(1), 0xcd, 0x80], // exit: mov eax, 1: exit; int 80h
  ].flat();

  const file = Buffer.alloc(PAGE_BYTES);
  file.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1], 0);
  file.writeUInt16LE(2, 16); // an executable
  file.writeUInt16LE(3, 18); // for i386
  file.writeUInt32LE(1, 20);
  file.writeUInt32LE(LOAD_ADDRESS + HEADERS_BYTES + path.length, 24); // entry
  file.writeUInt32LE(52, 28); // where the program headers are
  file.writeUInt16LE(52, 40);
  file.writeUInt16LE(32, 42);
  file.writeUInt16LE(1, 44);
  // One segment, the file and a page behind it: to read, write and execute.
  const segment = [1, 0, LOAD_ADDRESS, LOAD_ADDRESS, PAGE_BYTES, 2 * PAGE_BYTES, 7, PAGE_BYTES];
  for (const [i, value] of segment.entries()) file.writeUInt32LE(value, 52 + 4 * i);
  file.write(path, HEADERS_BYTES, 'latin1');
  file.set(code, HEADERS_BYTES + path.length);
  return file;
}
