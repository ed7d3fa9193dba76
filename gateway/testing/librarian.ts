import { once } from "node:events";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { type Mount, mount } from "@turnwright/platform/rpc/mount";
import type { Library } from "./library.ts";

type Fields = Record<string, unknown>;

/** Failures that the service raises on demand. */
const failures: Record<string, () => never> = {
  missing: () => {
    throw fail(ErrorReason.NOT_FOUND, "No such shelf.");
  },
  own: () => {
    throw fail(ErrorReason.TOOL_FAILED, "The ladder broke.");
  },
  bug: () => {
    throw new TypeError("secret of the house");
  },
  busy: () => {
    throw fail(ErrorReason.MODEL_RATE_LIMITED, "Come back later.", { retryAfterSeconds: 6.2 });
  },
};

/** The library's service: answers, streams and failures by the words of the request. */
export function librarian(library: Library): Mount {
  const book = (init: Fields) => create(library.message("Book"), init as MessageInitShape<never>);
  return mount(library.service, {
    listBooks(request: Fields) {
      for (const word of request.words as string[]) failures[word]?.();
      return {
        books: [book({ title: "Emma", printedAt: timestampFromMs(0), binding: { case: "staples", value: 2 } })],
        total: 1,
      };
    },
    putBook: (request: Fields) => ({ book: request.book }),
    read: ({ text, stream }: Fields) => ({ word: text, place: stream ? 1 : 0 }),
    async *streamRead({ text }: Fields) {
      for (const [place, word] of String(text).split(" ").entries()) {
        failures[word]?.();
        yield { word, place };
      }
    },
    async *watchShelf({ after }: Fields, context: HandlerContext) {
      yield { word: "watching" };
      if (after !== "") yield { mark: `after ${after}` };
      if (!context.signal.aborted) await once(context.signal, "abort");
    },
    getRules: () => ({ rules: [{ maxLoans: 3, camelCase: null }], note: { kind: { case: "stringValue", value: "quiet" } } }),
    copy: ({ text }: Fields) => ({ pages: 1, wholeText: text === "none" ? "" : `<script>${text}</script>ß` }),
    inventory: () => ({}),
  } as unknown as ServiceImpl<typeof library.service>);
}
