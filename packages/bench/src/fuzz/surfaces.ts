import type { FuzzSurface, SurfaceName } from './surface.js';

interface SurfaceKind {
  /** Plays in a process of its own: whatever hangs can be ended. The others wait for their answers with a deadline. */
  readonly blocking: boolean;
  readonly create: () => Promise<FuzzSurface>;
}

/** How each surface is made; what it needs is loaded then. */
export const SURFACES: Readonly<Record<SurfaceName, SurfaceKind>> = {
  ring: {
    blocking: true,
    create: async () => {
      const { makeRingCase } = await import('./ring/ring-generator.js');
      return (await import('./ring/ring-surface.js')).RingSurface.create(makeRingCase);
    },
  },
  shift: {
    blocking: true,
    create: async () => (await import('./ring/shift-surface.js')).ShiftSurface.create(),
  },
  request: {
    blocking: true,
    create: async () => {
      const { makeRequestCase } = await import('./ring/ring-generator.js');
      return (await import('./ring/ring-surface.js')).RingSurface.create(makeRequestCase);
    },
  },
  race: {
    blocking: false,
    create: async () => (await import('./race/race-surface.js')).RaceSurface.create(),
  },
  message: {
    blocking: false,
    create: async () => (await import('./message/message-surface.js')).MessageSurface.create(),
  },
  daemon: {
    blocking: false,
    create: async () => (await import('./message/message-surface.js')).MessageSurface.createForDaemon(),
  },
  qmp: {
    blocking: true,
    create: async () => (await import('./text/qmp-surface.js')).QmpSurface.create(),
  },
  command: {
    blocking: false,
    create: async () => (await import('./text/command-surface.js')).CommandSurface.create(),
  },
  keyval: {
    blocking: true,
    create: async () => (await import('./text/keyval-surface.js')).KeyvalSurface.create(),
  },
};
