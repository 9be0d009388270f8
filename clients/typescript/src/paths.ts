/** Where a daemon listens whose socket nothing names. */
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { basename, dirname, isAbsolute, join } from "node:path";

import { DEFAULT_PATH } from "./protocol.js";

/**
 * A daemon that cannot write to `/run/sidecar` listens in its user's `XDG_RUNTIME_DIR`, if nobody else
 * can write there, where anybody could answer in its place. Who asks may be another user than the daemon, so
 * that what is there comes before what could be written.
 */
export function usualPath(): string {
  const directory = process.env["XDG_RUNTIME_DIR"] ?? "";
  const own = join(directory, basename(DEFAULT_PATH));
  if (!isPrivate(directory) || existsSync(DEFAULT_PATH)) return DEFAULT_PATH;
  return existsSync(own) || !canWrite(dirname(DEFAULT_PATH)) ? own : DEFAULT_PATH;
}

/** Whether only its owner can write there. */
function isPrivate(directory: string): boolean {
  try {
    return isAbsolute(directory) && (statSync(directory).mode & (constants.S_IWGRP | constants.S_IWOTH)) === 0;
  } catch {
    return false;
  }
}

function canWrite(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
