export { FuzzFinding } from './fuzz-finding.js';
export { openSurface, type FuzzOptions, type FuzzReport } from './play-cases.js';
export { runFuzz } from './run-fuzz.js';
export { type FuzzSurface, SURFACE_NAMES, type SurfaceName } from './surface.js';
