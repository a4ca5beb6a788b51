import type { PciBus } from '@iothreads/core/testing';

const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;
const ENABLE = 0x8000_0000;
const BAR0 = 0x10;

/** The machine's ports as a program in the guest has them: 4 bytes are a signed number. */
export interface Ports {
  port_read8(port: number): number;
  port_read16(port: number): number;
  port_read32(port: number): number;
  port_write8(port: number, value: number): void;
  port_write16(port: number, value: number): void;
  port_write32(port: number, value: number): void;
}

/** The way of a driver in the guest to a function in a slot of the machine's: through its ports. */
export function portsBus(ports: Ports, slot: number): PciBus {
  const read = (port: number, width: 1 | 2 | 4): number => {
    if (width === 1) return ports.port_read8(port);
    return width === 2 ? ports.port_read16(port) : ports.port_read32(port) >>> 0;
  };
  const write = (port: number, width: 1 | 2 | 4, value: number): void => {
    if (width === 1) ports.port_write8(port, value);
    else if (width === 2) ports.port_write16(port, value);
    else ports.port_write32(port, value | 0);
  };
  const config = (offset: number): number => {
    write(CONFIG_ADDRESS, 4, (ENABLE | (slot << 11) | (offset & ~3)) >>> 0);
    return CONFIG_DATA + (offset & 3);
  };
  const portOf = (bar: number, offset: number): number => (read(config(BAR0 + 4 * bar), 4) & 0xfffc) + offset;
  return {
    readConfig: (offset, width) => read(config(offset), width),
    writeConfig: (offset, width, value) => write(config(offset), width, value),
    readBar: (bar, offset, width) => read(portOf(bar, offset), width),
    writeBar: (bar, offset, width, value) => write(portOf(bar, offset), width, value),
  };
}
