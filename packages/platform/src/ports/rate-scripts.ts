import { hash } from "node:crypto";
import type { ChainableCommander, Redis } from "ioredis";
import { windowLengths } from "./rate-limiter.ts";

/** A script as Redis knows it. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

const scriptOf = (text: string): Script => ({ text, sha: hash("sha1", text) });

/** In how many steps of its limit a key's count is told to the other processes. */
const tellSteps = 16;

/** The windows of one key are one string: `start previous current` of the minute, then of the day. ARGV[1] replaces the clock. */
const prelude = `
local minute, day = ${windowLengths.minute}, ${windowLengths.day}
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local function roll(start, previous, current, length)
  start, previous, current = tonumber(start), tonumber(previous), tonumber(current)
  if not start or now >= start + 2 * length then return now, 0, 0 end
  if now >= start + length then return start + length, current, 0 end
  return start, previous, current
end
local function used(start, previous, current, length)
  return math.floor(previous * (1 - (math.max(0, now - start) + 1) / length)) + current
end
local function parse(text)
  local ms, mp, mc, ds, dp, dc
  if text then ms, mp, mc, ds, dp, dc = string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$') end
  ms, mp, mc = roll(ms, mp, mc, minute)
  ds, dp, dc = roll(ds, dp, dc, day)
  return ms, mp, mc, ds, dp, dc
end
local function write(ms, mp, mc, ds, dp, dc)
  local text = string.format('%.0f %.0f %.0f %.0f %.0f %.0f', ms, mp, mc, ds, dp, dc)
  local expiry = dp + dc > 0 and ds + 2 * day or ms + 2 * minute
  redis.call('SET', KEYS[1], text, 'PX', math.max(1, expiry - now))
  return text
end
local function recall(start, previous, current, kstart, kprevious, kcurrent, length)
  if previous + current == 0 then return kstart, kprevious, kcurrent end
  if start == kstart then return start, math.max(previous, kprevious), math.max(current, kcurrent) end
  local missing = used(kstart, kprevious, kcurrent, length) - used(start, previous, current, length)
  return start, previous, current + math.max(0, missing)
end
local ms, mp, mc, ds, dp, dc
local function recallAll(text)
  local kms, kmp, kmc, kds, kdp, kdc = parse(text)
  ms, mp, mc = recall(ms, mp, mc, kms, kmp, kmc, minute)
  ds, dp, dc = recall(ds, dp, dc, kds, kdp, kdc, day)
end
local state = redis.call('GET', KEYS[1])
ms, mp, mc, ds, dp, dc = parse(state)
`;

/**
 * The rules of rate-limiter-memory.ts. ARGV: clock, limit of the minute, limit of the day, the windows as this process knows them with
 * their counts (what Redis has lost comes back from there), the channel on which others hear of them (empty: there are none). Gives
 * the decision, the clock and the windows.
 */
export const takeScript = scriptOf(`${prelude}
local per_minute, per_day, known, channel = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[7]
local recalled = known ~= '' and (not state or tonumber(ARGV[5]) > mc or tonumber(ARGV[6]) > dc)
if recalled then recallAll(known) end
local function left(start, previous, current, length, limit)
  if limit <= 0 then return math.huge end
  return limit - used(start, previous, current, length)
end
local function wait(start, previous, current, length, limit)
  local faded
  if current < limit then
    faded = 1 - (limit - current) / previous
  else
    start = start + length
    faded = math.max(0, 1 - limit / current)
  end
  return math.max(1, math.floor(start + length * faded) - now)
end
local function isStep(count, limit)
  return limit > 0 and count % math.max(1, math.floor(limit / ${tellSteps})) == 0
end
local minute_left = left(ms, mp, mc, minute, per_minute)
local day_left = left(ds, dp, dc, day, per_day)
local allowed = minute_left > 0 and day_left > 0
if allowed then
  if per_minute > 0 then mc = mc + 1 end
  if per_day > 0 then dc = dc + 1 end
end
if allowed or recalled then
  local text = write(ms, mp, mc, ds, dp, dc)
  if channel ~= '' and (recalled or isStep(mc, per_minute) or isStep(dc, per_day)) then
    redis.call('PUBLISH', channel, string.format('%.0f ', now) .. text .. ' ' .. KEYS[1])
  end
end
local answer
if allowed then
  if minute_left <= day_left then answer = {1, per_minute, minute_left - 1, ms + minute - now, 0}
  else answer = {1, per_day, day_left - 1, ds + day - now, 0} end
else
  local minute_wait = minute_left > 0 and 0 or wait(ms, mp, mc, minute, per_minute)
  local day_wait = day_left > 0 and 0 or wait(ds, dp, dc, day, per_day)
  if minute_wait >= day_wait then answer = {0, per_minute, 0, ms + minute - now, minute_wait}
  else answer = {0, per_day, 0, ds + day - now, day_wait} end
end
for _, number in ipairs({now, ms, mp, mc, ds, dp, dc}) do answer[#answer + 1] = number end
return answer
`);

/**
 * Brings a process's windows after an outage. ARGV: clock, what all had counted before it as this process knows it, what this process
 * allowed since. The first is as good as the others': the larger one counts. The second is added.
 */
export const mergeScript = scriptOf(`${prelude}
recallAll(ARGV[2])
local function add(start, previous, current, astart, aprevious, acurrent, length)
  if previous + current == 0 then return astart, aprevious, acurrent end
  if start == astart then return start, previous + aprevious, current + acurrent end
  return start, previous, current + used(astart, aprevious, acurrent, length)
end
local ams, amp, amc, ads, adp, adc = parse(ARGV[3])
ms, mp, mc = add(ms, mp, mc, ams, amp, amc, minute)
ds, dp, dc = add(ds, dp, dc, ads, adp, adc, day)
write(ms, mp, mc, ds, dp, dc)
`);

/** Runs a script on one key by its hash, by its text when Redis does not have it. */
export async function runScript(redis: Redis, { text, sha }: Script, key: string, args: (string | number)[]): Promise<unknown> {
  try {
    return await redis.evalsha(sha, 1, key, ...args);
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
    return redis.eval(text, 1, key, ...args);
  }
}

/** Runs a script on many keys, some hundreds at a time. Rejects when one fails. */
export async function runScriptOnMany(
  redis: Redis,
  { text, sha }: Script,
  calls: readonly { key: string; args: (string | number)[] }[],
): Promise<void> {
  await redis.script("LOAD", text);
  for (let from = 0; from < calls.length; from += 500) {
    const pipeline: ChainableCommander = redis.pipeline();
    for (const { key, args } of calls.slice(from, from + 500)) pipeline.evalsha(sha, 1, key, ...args);
    for (const [error] of (await pipeline.exec()) ?? []) if (error !== null) throw error;
  }
}
