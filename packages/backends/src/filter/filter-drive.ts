import type { HeldDrive, PreparedDrive } from '../block-driver-type.js';

/** What an iothread needs of a filter: the drive below, and something of the filter's own. */
export interface FilterState<Own> {
  readonly child: PreparedDrive;
  readonly own: Own;
}

/**
 * Holds a filter over a drive that is held. The two are as large as each other at any time, and close as one.
 * @param closeOwn gives back what the filter has beside that drive
 */
export function filterDrive<Own>(
  driver: string,
  child: HeldDrive,
  own: Own,
  closeOwn: () => void = () => {},
): HeldDrive<FilterState<Own>> {
  const prepare = (drive: PreparedDrive): PreparedDrive<FilterState<Own>> => ({
    driver,
    geometry: drive.geometry,
    offset: 0,
    state: { child: drive, own },
  });
  return {
    get prepared() {
      return prepare(child.prepared);
    },
    notices: child.notices,
    resize: async (sizeBytes) => prepare(await child.resize(sizeBytes)),
    close: async () => {
      try {
        closeOwn();
      } finally {
        await child.close();
      }
    },
  };
}

/** The drive below a filter, as it is to be opened: a window onto the filter is one onto that drive. */
export function childOf({ state, offset, geometry }: PreparedDrive<FilterState<unknown>>): PreparedDrive {
  return { ...state.child, offset: state.child.offset + offset, geometry };
}
