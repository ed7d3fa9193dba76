import { create } from "@bufbuild/protobuf";
import { type MessagePart, MessagePartSchema } from "@turnwright/contract/conversation/v1/conversation";
import { storable } from "./storable.ts";

/** A part of a message as stored; `truncated_bytes` only where a limit has cut it. */
export interface PartRow {
  readonly type: string;
  readonly text: string;
  readonly image_url: string;
  readonly truncated_bytes?: number;
}

export function toPart({ type, text, image_url: imageUrl, truncated_bytes: truncatedBytes = 0 }: PartRow): MessagePart {
  return create(MessagePartSchema, { type, text, imageUrl, truncatedBytes });
}

/** The parts of a message for its column; null: none. */
export function partRows(parts: readonly MessagePart[]): PartRow[] | null {
  if (parts.length === 0) return null;
  return parts.map(({ type, text, imageUrl }) => ({ type, text: storable(text), image_url: storable(imageUrl) }));
}

/** Characters of the texts and data URLs of parts. */
export function partsLength(parts: readonly MessagePart[]): number {
  return parts.reduce((length, { text, imageUrl }) => length + text.length + imageUrl.length, 0);
}

/**
 * The column `parts` with texts of at most `limit` characters and without images of more bytes; `limit` is SQL, null:
 * as it is.
 */
export const limitedParts = (limit: string): string => `case when parts is null or ${limit} is null then parts else (
    select json_agg(json_build_object(
      'type', p ->> 'type', 'text', left(p ->> 'text', ${limit}),
      'image_url', case when octet_length(p ->> 'image_url') > ${limit} then '' else p ->> 'image_url' end,
      'truncated_bytes', octet_length(p ->> 'text') - octet_length(left(p ->> 'text', ${limit}))
        + case when octet_length(p ->> 'image_url') > ${limit} then octet_length(p ->> 'image_url') else 0 end
    ) order by n)
    from json_array_elements(parts) with ordinality as listed(p, n)
  ) end as parts`;
