import { answeredWithin, type Queryable } from "@turnwright/platform/postgres/pool";

/** Seconds after which a pulse begins a new series. */
export const longestGapSeconds = 2;

/** A new series begins no sooner than this after the last, unless the gap was a long one. */
export const shortestSeriesSeconds = 6;
const longGapSeconds = 10;

// A journal that falters again and again, on an overloaded machine, must not protect the runs of dead workers forever.
const pulseSql = `
insert into journal_pulse (seen_at, since) values (now(), now())
on conflict (is_only) do update
set seen_at = greatest(journal_pulse.seen_at, now()),
  since = case
    when $1 or journal_pulse.seen_at > now() - ${longestGapSeconds} * interval '1 second' then journal_pulse.since
    when journal_pulse.seen_at > now() - ${longGapSeconds} * interval '1 second'
      and journal_pulse.since > now() - ${shortestSeriesSeconds} * interval '1 second' then journal_pulse.since
    else now()
  end`;

/**
 * Records that the journal can receive heartbeats now. `goesOn`: the time since the last pulse counts as no gap.
 * Rejects with DATABASE_UNAVAILABLE when it is not written within `timeoutMs` or before `signal` aborts.
 */
export async function recordPulse(
  db: Queryable,
  pulse: { goesOn: boolean; timeoutMs: number; signal?: AbortSignal },
): Promise<void> {
  const query = { name: "journal-pulse", text: pulseSql, values: [pulse.goesOn] };
  await db.query(answeredWithin(pulse.timeoutMs, query, pulse.signal));
}
