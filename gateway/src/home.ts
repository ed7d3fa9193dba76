import type { FastifyInstance } from "fastify";

/** The weight that an Accept header gives to a type, from 0 to 1; 0 when it does not name the type. */
function weightOf(accepted: string, type: string): number {
  for (const range of accepted.toLowerCase().split(",")) {
    const [name = "", ...parameters] = range.split(";").map((part) => part.trim());
    if (name !== type) continue;
    const weight = parameters.find((parameter) => parameter.startsWith("q="));
    return weight === undefined ? 1 : Number(weight.slice(2)) || 0;
  }
  return 0;
}

/** Whether a client prefers a page to JSON, as browsers do. A client that takes anything gets JSON. */
function wantsPage(accepted = ""): boolean {
  const weight = weightOf(accepted, "text/html");
  return weight > 0 && weight >= weightOf(accepted, "application/json");
}

/** Leads browsers from `/` to the console; other clients get the error of an unknown path. */
export function serveHome(app: FastifyInstance): void {
  app.get("/", (request, reply) => {
    const vary = reply.getHeader("vary");
    reply.header("vary", vary === undefined ? "accept" : `${vary}, accept`);
    if (!wantsPage(request.headers.accept)) return reply.callNotFound();
    return reply.redirect("/console/");
  });
}
