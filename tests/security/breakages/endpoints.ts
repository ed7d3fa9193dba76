import type { SecurityBreakages } from "./breakage.ts";

const endpoint = "services/agent-orchestrator/src/model/endpoint";
const errors = [`${endpoint}/model-error.test.ts`];
const answers = [`${endpoint}/answers.test.ts`];

/** Guards against hostile or broken endpoints of models. */
export const endpoints: SecurityBreakages = {
  "endpoint-other-host": {
    file: `${endpoint}/attempts.ts`,
    changes: [{ from: "return target.origin === origin ?", to: "return target.origin !== undefined ?" }],
    suite: answers,
    test: "to another host",
  },
  "endpoint-bomb": {
    file: `${endpoint}/http-model.ts`,
    changes: [{ from: "const limits = { bytes: maxAnswerBytes,", to: "const limits = { bytes: Number.POSITIVE_INFINITY," }],
    suite: answers,
    test: "grows beyond all bounds",
  },
  "endpoint-encodings": {
    file: `${endpoint}/content-decoding.ts`,
    changes: [{ from: "const maxEncodings = 2;", to: "const maxEncodings = 10;" }],
    suite: answers,
    test: "in gzip, gzip, gzip is refused by name",
  },
  "endpoint-key-in-words": {
    file: `${endpoint}/error-words.ts`,
    changes: [{ from: 'words = words.replaceAll(secret, "[hidden]");', to: "words = words.trim();" }],
    suite: answers,
    test: "shows no key of ours",
  },
  "endpoint-credential-words": {
    file: `${endpoint}/model-error.ts`,
    changes: [{ from: 'isPrivate ? "" : errorWords(', to: "errorWords(" }],
    suite: errors,
    test: "about our credentials stay here",
  },
};
