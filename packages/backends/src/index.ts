export * from './block-driver.js';
export * from './block-driver-type.js';
