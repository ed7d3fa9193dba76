import { create, type DescMessage, type Message, setExtension } from "@bufbuild/protobuf";
import { FieldOptionsSchema } from "@bufbuild/protobuf/wkt";
import { createValidator, type ValidationResult, type Validator } from "@bufbuild/protovalidate";
import {
  PredefinedRulesSchema,
  predefined,
  RuleSchema,
  file_buf_validate_validate as rulesFile,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

/**
 * protovalidate computes nearly all rules in JavaScript. It compiles their expressions all the same, 57 for the first
 * string that it meets, which is a tenth of the start of a process. Here it plans messages with an expression in their
 * place that no rule may have. A rule whose expression it needs therefore fails with an error, and the message is
 * planned again with the real ones.
 */
const noExpression = create(PredefinedRulesSchema, { cel: [create(RuleSchema, { id: "none", expression: "0" })] });

/** The options of the rules that have an expression, such as `StringRules.email`. */
const optionsOfRules = rulesFile.messages
  .flatMap((desc) => desc.fields)
  .flatMap(({ proto }) => (proto.options?.$unknown?.some(({ no }) => no === predefined.number) ? [proto.options] : []));

/** The options of a rule with `noExpression`, as a descriptor stores them. */
const placeholder = (() => {
  const options = create(FieldOptionsSchema);
  setExtension(options, predefined, noExpression);
  return options.$unknown;
})();

/** Does something synchronous while all rules have `noExpression`. */
function withoutExpressions<T>(work: () => T): T {
  const kept = optionsOfRules.map(({ $unknown }) => $unknown);
  for (const options of optionsOfRules) options.$unknown = placeholder;
  try {
    return work();
  } finally {
    for (const [index, options] of optionsOfRules.entries()) options.$unknown = kept[index];
  }
}

/** Validates messages by the rules in their protos. */
export interface RequestValidator {
  validate(desc: DescMessage, message: Message): ValidationResult;
}

/** Creates a validator that compiles the expressions of rules when a message needs one. */
export function createRequestValidator(): RequestValidator {
  const quick = createValidator();
  const planned = new Set<DescMessage>();
  /** The messages with a rule whose expression is needed. */
  const expressed = new Set<DescMessage>();
  let whole: Validator | undefined;
  return {
    validate(desc, message) {
      if (!expressed.has(desc)) {
        const isPlanned = planned.has(desc);
        planned.add(desc);
        const validate = () => quick.validate(desc, message);
        const result = isPlanned ? validate() : withoutExpressions(validate);
        if (result.kind !== "error") return result;
        expressed.add(desc);
      }
      whole ??= createValidator();
      return whole.validate(desc, message);
    },
  };
}
