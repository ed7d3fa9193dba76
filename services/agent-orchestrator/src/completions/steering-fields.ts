import { ErrorReason, fail } from "@turnwright/platform/errors";

/**
 * Field names by which proxies for models (LiteLLM, OpenRouter and the like) let a request choose its target, its key
 * and other receivers. Those are the operator's settings, so a client must not send them. Compared without case and
 * separators, because some decoders ignore those.
 */
const steering = new RegExp(
  [
    // Addresses, keys and API types of any provider: api_base, openai_api_key, presidio_analyzer_api_base.
    "api(?:base|key|type|version|token|secret)s?$",
    "(?:base|server|webhook|proxy)(?:url|uri)s?$",
    "endpoint(?:url)?s?$",
    // Credentials.
    "^(?:authorization|credentials?|bearertoken|userapikey.*)$",
    "(?:accesskeyid|secretaccesskey|sessiontoken|adtoken|clientsecret|serviceaccount)(?:provider)?$",
    "^(?:aws|azure|vertex|bedrock|sagemaker|watsonx)[a-z].*$",
    // The provider, and the names by which LiteLLM is configured.
    "^(?:customllmprovider|llmprovider|litellm.*|userconfig|routersettings.*|modellist|modelinfo|proxyserverrequest)$",
    // Services that are notified of the request.
    "^(?:langfuse|langsmith|arize|phoenix|posthog|lunary|braintrust|helicone|gcs|wandb|weave|humanloop|mlflow)[a-z].*$",
    "^(?:success|failure|service)?callbacks?$",
    // Additions to the request that the endpoint forwards.
    "^(?:extra|default|additional)?headers$",
    "^extra(?:body|query)$",
    "^mock(?:response|toolcalls|timeout|testing.*|delay)$",
  ].join("|"),
);

/** Names that steer the endpoint as outermost fields only; elsewhere they are ordinary words. */
const steeringOutside = /^(?:organi[sz]ation(?:id)?|deploymentid|hfmodelname)$/;

/** A part of each of these names, so that other names need no closer check. */
const suspect =
  /api|ur[il]|endpoint|auth|credential|token|key|secret|account|aws|azure|vertex|bedrock|sagemaker|watsonx|provider|litellm|config|router|model.|proxy|header|extra|mock|lang|arize|phoenix|posthog|lunary|braintrust|helicone|gcs|wandb|weave|humanloop|mlflow|callback|organi|deployment|[^!-~]/i;

/** The common fields of OpenAI's requests, which need no check. */
const harmless = new Set(
  (
    "model messages role content name type text stream stream_options include_usage tools tool_choice tool_calls " +
    "tool_call_id function description strict " +
    "id index temperature top_p n stop seed user max_tokens max_completion_tokens prompt_cache_key metadata " +
    "image_url url detail response_format"
  ).split(" "),
);

/** Fields whose members have names of the client's choice: properties of JSON Schemas, and tokens. */
const ownNames = new Set(["properties", "$defs", "definitions", "patternProperties", "logit_bias"]);
/** Fields with JSON Schemas, except as outermost fields. */
const schemas = new Set(["parameters", "schema", "input_schema"]);

/** A name as decoders read it that ignore case and separators and fold similar letters. */
function plainName(name: string): string {
  return name
    .normalize("NFKC")
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, "");
}

/** The longest field name that any endpoint reads. */
const longestName = 200;

/** Whether a field of this name steers the endpoint. */
export function isSteering(name: string, isOutermost = false): boolean {
  if (harmless.has(name) || name.length > longestName || !suspect.test(name)) return false;
  const plain = plainName(name);
  return steering.test(plain) || (isOutermost && steeringOutside.test(plain));
}

/** The place of a field, as errors name it; overlong names are cut. */
export function placeOf(place: string, field: string | number): string {
  if (typeof field === "number") return `${place}[${field}]`;
  const name = field.length > 64 ? `${field.slice(0, 64)}…` : field;
  return place === "" ? name : `${place}.${name}`;
}

/**
 * Checks every member of a request, at every depth, and returns how many there are. Throws INVALID_REQUEST with the
 * first field that steers the endpoint, unless the operator allows it, or that decoders take for something other than a
 * field.
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
    if (name === "__proto__") refuse(placeOf(place, name), "is not a valid field name");
    if (isNamed && !isFree && isSteering(name, place === "")) {
      refuse(placeOf(place, name), "the operator sets the target and the key of requests; clients must not");
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
