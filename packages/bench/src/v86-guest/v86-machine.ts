import { createRequire } from 'node:module';
import { join } from 'node:path';
import { V86, type V86Options } from 'v86';
import type { GuestKit } from './guest-kit.js';

const WASM = join(createRequire(import.meta.url).resolve('v86'), '../v86.wasm');
/** v86 puts the initial ramdisk at 64 MiB. */
const MEMORY_BYTES = 128 << 20;

/**
 * No ACPI and no APIC: v86 has them switched off. The rest is time that the guest needn't take: probes for hardware that
 * isn't there, self-tests, mitigations for a processor that speculates on nothing. `init_on_alloc=0`: a guest that clears its
 * pages hides a device that forgets to tell v86's compiler what it wrote.
 */
const KERNEL_PARAMETERS = [
  'console=ttyS0,115200n8',
  'acpi=off noapic nolapic tsc=reliable noisapnp pnpbios=off mce=off',
  'mitigations=off cryptomgr.notests init_on_alloc=0',
  'quiet rdinit=/init',
].join(' ');

/** A machine of v86's that boots the kit's kernel once it runs; of its serial ports there are two. Resolves when it is loaded. */
export async function createMachine(kit: GuestKit, files: Uint8Array, options: V86Options): Promise<V86> {
  const machine = new V86({
    wasm_path: WASM,
    autostart: false,
    fastboot: true,
    memory_size: MEMORY_BYTES,
    vga_memory_size: 2 << 20,
    disable_speaker: true,
    disable_keyboard: true,
    disable_mouse: true,
    uart1: true,
    bios: { buffer: kit.bios },
    bzimage: { buffer: kit.kernel },
    initrd: { buffer: new Uint8Array(Buffer.concat([kit.initramfs, files])).buffer },
    cmdline: KERNEL_PARAMETERS,
    // Its types know no `none`.
    net_device: { type: 'none' } as unknown as NonNullable<V86Options['net_device']>,
    ...options,
  });
  await new Promise<void>((resolve) => machine.add_listener('emulator-loaded', resolve));
  return machine;
}
