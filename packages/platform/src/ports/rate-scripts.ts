import { hash } from "node:crypto";
import type { ChainableCommander, Redis } from "ioredis";
import { windowLengths } from "./rate-limiter.ts";

/** A Lua script and its hash. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

const scriptOf = (text: string): Script => ({ text, sha: hash("sha1", text) });

/** Number of steps of a limit at which a key's count is published to the other processes. */
const tellSteps = 16;

/**
 * The windows of one key are one string: `start previous current` of the minute, then of the day. ARGV[1] replaces the
 * clock.
 */
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
local function write(key, ms, mp, mc, ds, dp, dc)
  local text = string.format('%.0f %.0f %.0f %.0f %.0f %.0f', ms, mp, mc, ds, dp, dc)
  local expiry = dp + dc > 0 and ds + 2 * day or ms + 2 * minute
  redis.call('SET', key, text, 'PX', math.max(1, expiry - now))
  return text
end
local function recall(start, previous, current, kstart, kprevious, kcurrent, length)
  if previous + current == 0 then return kstart, kprevious, kcurrent end
  if start == kstart then return start, math.max(previous, kprevious), math.max(current, kcurrent) end
  local missing = used(kstart, kprevious, kcurrent, length) - used(start, previous, current, length)
  return start, previous, current + math.max(0, missing)
end
local function recallAll(text, ms, mp, mc, ds, dp, dc)
  local kms, kmp, kmc, kds, kdp, kdc = parse(text)
  ms, mp, mc = recall(ms, mp, mc, kms, kmp, kmc, minute)
  ds, dp, dc = recall(ds, dp, dc, kds, kdp, kdc, day)
  return ms, mp, mc, ds, dp, dc
end
`;

/**
 * Applies the rules of rate-limiter-memory.ts. ARGV: clock; the channel on which the windows are published (empty:
 * none); then for each key the limit of the minute, the limit of the day, and the windows known to this process with
 * their counts, from which windows lost by Redis are restored. Either all keys count the request or none. Returns the
 * decision, the clock and each key's windows.
 */
export const takeScript = scriptOf(`${prelude}
local channel = ARGV[2]
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
local least, least_limit, least_reset = math.huge, 0, 0
local longest, longest_limit, longest_reset = 0, 0, 0
local function look(start, previous, current, length, limit)
  if limit <= 0 then return end
  local left = limit - used(start, previous, current, length)
  if left > 0 then
    if left < least then least, least_limit, least_reset = left, limit, start + length - now end
    return
  end
  local ms = wait(start, previous, current, length, limit)
  if ms > longest then longest, longest_limit, longest_reset = ms, limit, start + length - now end
end
local recalled, answer = {}, {0, 0, 0, 0, 0, now}
for i, key in ipairs(KEYS) do
  local at, to = 5 * i - 2, 6 * i
  local per_minute, per_day, known = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 2]
  local state = redis.call('GET', key)
  local ms, mp, mc, ds, dp, dc = parse(state)
  if known ~= '' and (not state or tonumber(ARGV[at + 3]) > mc or tonumber(ARGV[at + 4]) > dc) then
    recalled[i] = true
    ms, mp, mc, ds, dp, dc = recallAll(known, ms, mp, mc, ds, dp, dc)
  end
  look(ms, mp, mc, minute, per_minute)
  look(ds, dp, dc, day, per_day)
  answer[to + 1], answer[to + 2], answer[to + 3], answer[to + 4], answer[to + 5], answer[to + 6] = ms, mp, mc, ds, dp, dc
end
local allowed = longest == 0
if allowed then answer[1], answer[2], answer[3], answer[4] = 1, least_limit, least - 1, least_reset
else answer[2], answer[4], answer[5] = longest_limit, longest_reset, longest end
for i, key in ipairs(KEYS) do
  local at, to = 5 * i - 2, 6 * i
  local per_minute, per_day = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  if allowed then
    if per_minute > 0 then answer[to + 3] = answer[to + 3] + 1 end
    if per_day > 0 then answer[to + 6] = answer[to + 6] + 1 end
  end
  if allowed or recalled[i] then
    local text = write(key, unpack(answer, to + 1, to + 6))
    if channel ~= '' and (recalled[i] or isStep(answer[to + 3], per_minute) or isStep(answer[to + 6], per_day)) then
      redis.call('PUBLISH', channel, string.format('%.0f ', now) .. text .. ' ' .. key)
    end
  end
end
return answer
`);

/**
 * Brings a process's windows of one key after an outage. ARGV: clock, what all had counted before it as this process
 * knows it, what this process allowed since. The first is as good as the others': the larger one counts. The second is
 * added.
 */
export const mergeScript = scriptOf(`${prelude}
local ms, mp, mc, ds, dp, dc = parse(redis.call('GET', KEYS[1]))
ms, mp, mc, ds, dp, dc = recallAll(ARGV[2], ms, mp, mc, ds, dp, dc)
local function add(start, previous, current, astart, aprevious, acurrent, length)
  if previous + current == 0 then return astart, aprevious, acurrent end
  if start == astart then return start, previous + aprevious, current + acurrent end
  return start, previous, current + used(astart, aprevious, acurrent, length)
end
local ams, amp, amc, ads, adp, adc = parse(ARGV[3])
ms, mp, mc = add(ms, mp, mc, ams, amp, amc, minute)
ds, dp, dc = add(ds, dp, dc, ads, adp, adc, day)
write(KEYS[1], ms, mp, mc, ds, dp, dc)
`);

/** Runs a script on its keys by its hash, by its text when Redis does not have it. */
export async function runScript(
  redis: Redis,
  { text, sha }: Script,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<unknown> {
  try {
    return await redis.evalsha(sha, keys.length, ...keys, ...args);
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
    return redis.eval(text, keys.length, ...keys, ...args);
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
