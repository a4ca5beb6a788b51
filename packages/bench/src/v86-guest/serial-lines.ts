/** Longer ones are shown in parts: a guest may send anything. */
const MAX_LINE_BYTES = 64 * 1024;

/** Puts what a serial port sends, byte by byte, together into lines. */
export function serialLines(listener: (line: string) => void): (byte: number) => void {
  let line: number[] = [];
  return (byte) => {
    if (byte !== 0x0a) line.push(byte);
    if (byte !== 0x0a && line.length < MAX_LINE_BYTES) return;
    const text = Buffer.from(line).toString('utf8').trimEnd();
    line = [];
    listener(text);
  };
}
