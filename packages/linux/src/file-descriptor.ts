import { checked, libc } from './libc.js';

const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

const close = libc.func('int close(int fd)') as (fd: number) => number;
const fcntl = libc.func('int fcntl(int fd, int command, long argument)') as (
  fd: number,
  command: number,
  argument: number,
) => number;

/** close(2). The caller owns `fd`, and uses it no more: Linux releases it whatever the call says. */
export function closeFd(fd: number): void {
  // Takes no pointer.
  close(fd);
}

/** Calls on `fd` that would wait fail with EAGAIN from now on. */
export function setNonBlocking(fd: number): void {
  checked('fcntl', fcntl(fd, F_SETFL, checked('fcntl', fcntl(fd, F_GETFL, 0)) | O_NONBLOCK));
}
