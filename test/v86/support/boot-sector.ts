const LOAD_ADDRESS = 0x7c00;
/** Where the program has the sector that it counts in. */
const BUFFER = 0x8000;
const PACKET = 0x1a0;
const TEXT = 0x1c0;
const word = (value: number): [number, number] => [value & 0xff, value >> 8];

/**
 * The first sectors of a disk whose machine boots `turns` times: a program that reads the second sector, counts in its first byte and
 * writes it back, tells so by the guest's second serial port, and resets the machine until it has counted far enough. In the end it
 * asks for a script, as any guest, and halts.
 */
export function countingBootSector(turns: number): Uint8Array<ArrayBuffer> {
  const packet = word(LOAD_ADDRESS + PACKET);
  const text = word(LOAD_ADDRESS + TEXT);
  const count = word(BUFFER);
  const code = [
    [0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0], // ax, ds, es = 0
    [0xbe, ...packet, 0xb4, 0x42, 0xcd, 0x13], // mov si, packet; mov ah, 42h; int 13h: read
    [0x72, 0x2e], // jc halt
    [0xfe, 0x06, ...count], // inc byte [count]
    [0xbe, ...packet, 0xb8, 0x00, 0x43, 0xcd, 0x13], // mov si, packet; mov ax, 4300h; int 13h: write
    [0x72, 0x20], // jc halt
    [0xbe, ...text, 0xba, 0xf8, 0x02], // mov si, text; mov dx, 2f8h
    [0xac, 0xee, 0x3c, 0x0a, 0x75, 0xfa], // line: lodsb; out dx, al; cmp al, '\n'; jne line
    [0x80, 0x3e, ...count, turns], // cmp byte [count], turns
    [0x73, 0x04], // jae rest
    [0xb0, 0xfe, 0xe6, 0x64], // mov al, feh; out 64h, al: reset
    [0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8], // rest: lodsb; test al, al; jz halt; out dx, al; jmp rest
    [0xfa, 0xf4, 0xeb, 0xfc], // halt: cli; hlt; jmp halt
  ].flat();
  const sectors = new Uint8Array(1024);
  sectors.set(code);
  sectors.set([0x10, 0, 1, 0, ...count, 0, 0, 1], PACKET); // one sector, to there, from sector 1
  sectors.set(Buffer.from('RESULT booted yes\nASK script\n\0'), TEXT);
  sectors.set([0x55, 0xaa], 510);
  return sectors;
}
