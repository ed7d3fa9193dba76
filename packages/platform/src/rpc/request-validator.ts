import { type DescField, type DescMessage, getOption, isFieldSet, type Message } from "@bufbuild/protobuf";
import { createValidator, type ValidationResult, type Validator } from "@bufbuild/protovalidate";
import {
  type FieldRules,
  field as fieldOption,
  predefined,
  file_buf_validate_validate as rulesFile,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

/**
 * protovalidate compiles the expressions of all rules that a type of field may have (57 for a string) when it meets the
 * first field of that type, which is a tenth of the start of a process. Here it compiles those in use: the expressions
 * of other rules are out of its sight while it plans a message.
 */

/** Messages such as `StringRules`, by their names. */
const ruleTypes = new Map(rulesFile.messages.map((desc) => [desc.typeName as string, desc]));

/** The rules that have an expression, such as `StringRules.email`. */
const expressedRules = rulesFile.messages
  .flatMap((desc) => desc.fields)
  .filter(({ proto }) => proto.options?.$unknown?.some(({ no }) => no === predefined.number));

/** Adds the rules that a field's options set. */
function addRules(rules: FieldRules | undefined, used: Set<DescField>): void {
  const { case: kind, value } = rules?.type ?? {};
  if (kind === undefined || value === undefined) return;
  for (const rule of ruleTypes.get(value.$typeName)?.fields ?? []) if (isFieldSet(value, rule)) used.add(rule);
  if (kind === "repeated") addRules(value.items, used);
  if (kind === "map") for (const part of [value.keys, value.values]) addRules(part, used);
}

/** The rules in use in a message and in the messages that it may hold. */
export function usedRules(desc: DescMessage, used = new Set<DescField>(), seen = new Set<DescMessage>()): Set<DescField> {
  if (seen.has(desc)) return used;
  seen.add(desc);
  for (const field of desc.fields) {
    addRules(getOption(field, fieldOption), used);
    if (field.message !== undefined) usedRules(field.message, used, seen);
  }
  return used;
}

/** Does something synchronous while protovalidate sees the expressions of these rules only. */
function withExpressionsOf<T>(rules: ReadonlySet<DescField>, work: () => T): T {
  const hidden = expressedRules.flatMap((rule) => {
    const { options } = rule.proto;
    return rules.has(rule) || options === undefined ? [] : [{ options, whole: options.$unknown }];
  });
  for (const { options } of hidden) options.$unknown = options.$unknown?.filter(({ no }) => no !== predefined.number);
  try {
    return work();
  } finally {
    for (const { options, whole } of hidden) options.$unknown = whole;
  }
}

/** Validates messages by the rules in their protos. */
export interface RequestValidator {
  validate(desc: DescMessage, message: Message): ValidationResult;
}

/** Creates a validator that compiles no rule before a message needs it. */
export function createRequestValidator(): RequestValidator {
  /** Each message stays with the validator that has planned it. */
  const planned = new Map<DescMessage, Validator>();
  const known = new Set<DescField>();
  let newest: Validator | undefined;
  return {
    validate(desc, message) {
      const validator = planned.get(desc);
      if (validator !== undefined) return validator.validate(desc, message);
      const used = usedRules(desc);
      // A validator keeps what it has compiled for a type of field, so another rule needs another validator.
      if (newest === undefined || [...used].some((rule) => !known.has(rule))) newest = createValidator();
      for (const rule of used) known.add(rule);
      planned.set(desc, newest);
      const planning = newest;
      return withExpressionsOf(known, () => planning.validate(desc, message));
    },
  };
}
