export { FuzzFinding } from './fuzz-finding.js';
export { playCase, type FuzzOptions, type FuzzReport } from './play-cases.js';
export { runFuzz } from './run-fuzz.js';
export { SURFACE_NAMES, type SurfaceName } from './surface.js';
