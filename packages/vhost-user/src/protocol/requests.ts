/** Requests of the front end (vhost-user, "Front-end message types"): those that this package knows. */
export const Request = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  SET_BACKEND_REQ_FD: 21,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  GET_INFLIGHT_FD: 31,
  SET_INFLIGHT_FD: 32,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
} as const;

/** Requests of the back end, on a channel of their own ("Back-end message types"). */
export const BackendRequest = {
  CONFIG_CHANGE_MSG: 2,
} as const;

const names = new Map<number, string>(Object.entries(Request).map(([name, request]) => [request, name]));

/** Name of a front end's request, for messages to people. */
export const requestName = (request: number): string => names.get(request) ?? `request ${request}`;
