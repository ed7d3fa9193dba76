/** A path of a google.api.http annotation. */
export interface PathTemplate {
  /** As annotated: `/v1/conversations/{conversation_id}`. */
  readonly template: string;
  /** In the syntax of fastify's router: `/v1/conversations/:conversation_id`. */
  readonly route: string;
  /** Proto names of the fields in the path, in order. */
  readonly fields: readonly string[];
  /** Matches the paths of this template. */
  readonly pattern: RegExp;
}

const segment = /^(?:\{([a-z][a-z0-9_]*)\}|([A-Za-z0-9._~-]+))$/;

/** Compiles a template of literal segments and `{field}`; throws at start for unsupported templates. */
export function compilePathTemplate(template: string): PathTemplate {
  if (!template.startsWith("/")) throw new Error(`The path template ${template} does not begin with a slash.`);
  const fields: string[] = [];
  const route: string[] = [];
  const pattern: string[] = [];
  for (const part of template.slice(1).split("/")) {
    const match = segment.exec(part);
    if (match === null) throw new Error(`The path template ${template} has a segment that is not supported: ${part}`);
    const [, field, literal] = match;
    if (field !== undefined) {
      fields.push(field);
      route.push(`:${field}`);
      pattern.push("[^/]+");
    } else {
      route.push(literal ?? "");
      pattern.push((literal ?? "").replaceAll(".", "\\."));
    }
  }
  return { template, fields, route: `/${route.join("/")}`, pattern: new RegExp(`^/${pattern.join("/")}$`) };
}
