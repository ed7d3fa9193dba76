import type { Json } from "../json-call.ts";
/** A server-sent event. */
export interface StreamedEvent {
  readonly id: string;
  readonly data: Json;
}

/** Events as they arrive, until the stream ends or the loop is left. */
export async function* streamedEvents(response: Response): AsyncGenerator<StreamedEvent> {
  if (response.body === null) throw new Error(`no stream: ${response.status}`);
  let text = "";
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const data = lines
        .find((line) => line.startsWith("data:"))
        ?.slice(5)
        .trim();
      if (data === undefined || data === "[DONE]") continue;
      const parsed = JSON.parse(data);
      yield {
        id:
          lines
            .find((line) => line.startsWith("id:"))
            ?.slice(3)
            .trim() ??
          parsed.event_id ??
          "",
        data: parsed,
      };
    }
  }
}
