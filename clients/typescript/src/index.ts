export { SidecarClient, type ClientOptions } from "./client.js";
export {
  DEFAULT_PATH,
  LONGEST_LINE,
  Mismatched,
  Refused,
  Unreachable,
  type Change,
  type Check,
  type Decision,
  type Event,
  type Reason,
  type Receipt,
} from "./protocol.js";
