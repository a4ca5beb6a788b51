export * from './guest-kit.js';
export * from './boot-guest.js';
