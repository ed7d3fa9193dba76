import { useState } from "preact/hooks";
import { clockText, timeOf } from "../../format/time.ts";
import { visible } from "../../json/visible.ts";
import { TextField } from "../../ui/field.tsx";
import { JsonView } from "../../ui/json-view.tsx";
import { ErrorBox, Loading } from "../../ui/states.tsx";
import { eventText, useRunEvents } from "./run-events.ts";

/** The events of a run, raw on demand. */
export function EventsTab({ runId }: { readonly runId: string }) {
  const { events, isWhole, error } = useRunEvents(runId);
  const [words, setWords] = useState("");
  const shown = events.filter(
    (event) => words === "" || `${event.type} ${eventText(event)}`.toLowerCase().includes(words.toLowerCase()),
  );
  return (
    <div class="stack">
      <TextField label="Filter by text" type="search" value={words} onInput={setWords} />
      {error !== undefined && <ErrorBox error={error} />}
      {events.length === 0 && !isWhole && <Loading what="events" />}
      <ol class="events">
        {shown.map((event) => {
          const at = timeOf(event.at);
          return (
            <li key={`${event.event_id}-${event.type}`}>
              <details>
                <summary>
                  <code>{event.event_id}</code> {at === undefined ? "" : clockText(at)} <strong>{event.type}</strong>{" "}
                  <bdi>{visible(eventText(event))}</bdi>
                </summary>
                <JsonView text={JSON.stringify(event, undefined, 2)} label={`Event ${event.event_id}`} file="event.json" />
              </details>
            </li>
          );
        })}
      </ol>
    </div>
  );
}
