/** Memory as WebAssembly has it: growing, it moves to another buffer, and the one before is detached. */
export class GrowingMemory {
  buffer: ArrayBuffer;

  constructor(byteLength: number) {
    this.buffer = new ArrayBuffer(byteLength);
  }

  grow(byteLength: number): void {
    const grown = new Uint8Array(this.buffer.byteLength + byteLength);
    grown.set(new Uint8Array(this.buffer));
    // Views over it are views over nothing from now on.
    structuredClone(this.buffer, { transfer: [this.buffer] });
    this.buffer = grown.buffer;
  }
}
