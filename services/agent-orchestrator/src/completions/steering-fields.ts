import { ErrorReason, fail } from "@turnwright/platform/errors";

/**
 * Names by which endpoints in front of other ones (LiteLLM, OpenRouter and the like) let a request say where it goes,
 * with which key, and to whom: what the operator has set, a client must not. Compared without case and separators,
 * since some decoders do not mind them.
 */
const steering = new RegExp(
  [
    // Addresses, keys and kinds of an interface, whoever's they are: api_base, openai_api_key,
    // presidio_analyzer_api_base.
    "api(?:base|key|type|version|token|secret)s?$",
    "(?:base|server|webhook|proxy)(?:url|uri)s?$",
    "endpoint(?:url)?s?$",
    // Credentials.
    "^(?:authorization|credentials?|bearertoken|userapikey.*)$",
    "(?:accesskeyid|secretaccesskey|sessiontoken|adtoken|clientsecret|serviceaccount)(?:provider)?$",
    "^(?:aws|azure|vertex|bedrock|sagemaker|watsonx)[a-z].*$",
    // The provider, and whatever LiteLLM configures itself by.
    "^(?:customllmprovider|llmprovider|litellm.*|userconfig|routersettings.*|modellist|modelinfo|proxyserverrequest)$",
    // Whom it tells of the request.
    "^(?:langfuse|langsmith|arize|phoenix|posthog|lunary|braintrust|helicone|gcs|wandb|weave|humanloop|mlflow)[a-z].*$",
    "^(?:success|failure|service)?callbacks?$",
    // What is put into the request that the endpoint sends on.
    "^(?:extra|default|additional)?headers$",
    "^extra(?:body|query)$",
    "^mock(?:response|toolcalls|timeout|testing.*|delay)$",
  ].join("|"),
);

/** Such names where only the outermost fields are meant: elsewhere they are words like others. */
const steeringOutside = /^(?:organi[sz]ation(?:id)?|deploymentid|hfmodelname)$/;

/** Something of each of these names; it spares the others a closer look. */
const suspect =
  /api|ur[il]|endpoint|auth|credential|token|key|secret|account|aws|azure|vertex|bedrock|sagemaker|watsonx|provider|litellm|config|router|model.|proxy|header|extra|mock|lang|arize|phoenix|posthog|lunary|braintrust|helicone|gcs|wandb|weave|humanloop|mlflow|callback|organi|deployment|[^!-~]/i;

/** The common fields of OpenAI's requests, which need no look. */
const harmless = new Set(
  (
    "model messages role content name type text stream stream_options include_usage tools tool_choice tool_calls tool_call_id function description strict " +
    "id index temperature top_p n stop seed user max_tokens max_completion_tokens prompt_cache_key metadata image_url url detail response_format"
  ).split(" "),
);

/** Fields whose members are names of the client's own: properties of JSON Schemas, and tokens. */
const ownNames = new Set(["properties", "$defs", "definitions", "patternProperties", "logit_bias"]);
/** Fields that hold JSON Schemas, where they are not the outermost ones. */
const schemas = new Set(["parameters", "schema", "input_schema"]);

/** A name as decoders read it that mind neither case nor separators, nor letters that fold into others. */
function plainName(name: string): string {
  return name
    .normalize("NFKC")
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, "");
}

/** The longest name of a field that anybody reads. */
const longestName = 200;

/** Whether a field of this name steers the endpoint. */
export function isSteering(name: string, isOutermost = false): boolean {
  if (harmless.has(name) || name.length > longestName || !suspect.test(name)) return false;
  const plain = plainName(name);
  return steering.test(plain) || (isOutermost && steeringOutside.test(plain));
}

/** The place of a field, as errors name it; names that a client made too long are cut. */
export function placeOf(place: string, field: string | number): string {
  if (typeof field === "number") return `${place}[${field}]`;
  const name = field.length > 64 ? `${field.slice(0, 64)}…` : field;
  return place === "" ? name : `${place}.${name}`;
}

/**
 * Goes through all of a request and gives the number of its members, with those of objects in objects. Throws
 * INVALID_REQUEST at the first field that steers the endpoint, unless the operator lets it through, and at one that
 * decoders take for something else than a field.
 */
export function refuseSteering(json: unknown, allowed: ReadonlySet<string>): number {
  return visit(json, "", allowed, true);
}

function holdsOwnNames(name: string, place: string): boolean {
  return ownNames.has(name) || (place !== "" && schemas.has(name));
}

function visit(value: unknown, place: string, allowed: ReadonlySet<string>, isNamed: boolean): number {
  if (typeof value !== "object" || value === null) return 0;
  let members = 0;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const item = value[i];
      if (typeof item === "object" && item !== null) members += visit(item, placeOf(place, i), allowed, isNamed);
    }
    return members;
  }
  for (const name of Object.keys(value)) {
    members += 1;
    const isFree = allowed.has(name);
    if (name === "__proto__") refuse(placeOf(place, name), "is no field");
    if (isNamed && !isFree && isSteering(name, place === "")) {
      refuse(placeOf(place, name), "where a request goes, and with which key, is for the operator to say");
    }
    const inner = (value as Record<string, unknown>)[name];
    if (typeof inner === "object" && inner !== null) {
      members += visit(inner, placeOf(place, name), allowed, isNamed && !isFree && !holdsOwnNames(name, place));
    }
  }
  return members;
}

/** Throws INVALID_REQUEST for a field. */
export function refuse(place: string, why: string): never {
  throw fail(ErrorReason.INVALID_REQUEST, `${place}: ${why}`, { param: place });
}
