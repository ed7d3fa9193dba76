import type { MeteredCall } from "../spending/metered-call.ts";
import type { ModelMeter } from "../spending/model-meter.ts";

/** A meter whose calls bound their answers: their readers end with ANSWER_TOO_LARGE beyond so many bytes. */
export function createBoundedMeter(meter: ModelMeter, maxAnswerBytes: number): ModelMeter {
  const bounded = (call: MeteredCall): MeteredCall => {
    call.output.maxBytes = maxAnswerBytes;
    return call;
  };
  return {
    ...meter,
    open(request) {
      const opened = meter.open(request);
      return opened instanceof Promise ? opened.then(bounded) : bounded(opened);
    },
  };
}
