/** When a long-lived stream must end: as soon as the call that began it would pass no more. */
import { setTimeout as sleep } from "node:timers/promises";

import type { SidecarClient } from "./client.js";
import { isReply, type Reply } from "./gate.js";
import { Unreachable, type Decision } from "./protocol.js";

/** Seconds. */
export interface Patience {
  readonly recheck: number;
  readonly patience: number;
}

/**
 * Resolves once `ask` is answered with a refusal, which is asked for as soon as something changes
 * and every `recheck` seconds; or where nobody answered for `patience` seconds; or on `signal`.
 */
export async function untilLost(
  client: SidecarClient,
  session: string,
  ask: () => Promise<Decision | Reply>,
  { recheck, patience }: Patience,
  signal: AbortSignal,
): Promise<void> {
  let alone: number | undefined;
  while (!signal.aborted) {
    const round = new AbortController();
    const either = AbortSignal.any([signal, round.signal]);
    try {
      // It watches before it asks, so that nothing falls between the two.
      const changes = await client.watching([session], either);
      for (let change = next(changes); !signal.aborted; ) {
        if (await isLost(ask)) return;
        alone = undefined;
        if (await within(recheck, change, either)) change = next(changes);
      }
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      // Where such calls pass unasked, so do such streams.
      const passes = await ask().then((answer) => !isReply(answer));
      alone = passes ? undefined : (alone ?? performance.now());
      if (alone !== undefined && performance.now() - alone >= patience * 1000) return;
      await pause(Math.min(1, patience / 4), signal);
    } finally {
      round.abort();
    }
  }
}

/** The next change. That it fails while nobody waits for it yet is no error of its own. */
function next(changes: AsyncGenerator<unknown>): Promise<unknown> {
  const change = changes.next();
  change.catch(() => undefined);
  return change;
}

/** Whether a change comes within so many seconds. */
async function within(seconds: number, change: Promise<unknown>, signal: AbortSignal): Promise<boolean> {
  const changed = new AbortController();
  try {
    return await Promise.race([
      change.then(() => true),
      pause(seconds, AbortSignal.any([signal, changed.signal])).then(() => false),
    ]);
  } finally {
    changed.abort();
  }
}

/** Throws `Unreachable` where it cannot be known now. */
async function isLost(ask: () => Promise<Decision | Reply>): Promise<boolean> {
  const answer = await ask();
  if (!isReply(answer)) return false;
  if (answer.status === 503) throw new Unreachable("it cannot be known how the session stands");
  return true;
}

/** Rest for so many seconds, or until the signal. */
export async function pause(seconds: number, signal: AbortSignal): Promise<void> {
  await sleep(seconds * 1000, undefined, { signal }).catch(() => undefined);
}
