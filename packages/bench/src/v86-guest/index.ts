export { Guest, type GuestOptions, type GuestResults } from './guest.js';
export { type GuestKit, loadGuestKit, whyNoGuest } from './guest-kit.js';
