import type { FastifyRequest } from "fastify";

/** Seconds for which the browser keeps the cookie: the life of a refresh token. */
const maxAgeSeconds = 604_800;
const tokenShape = /^[\w.~+/=-]{1,4096}$/;

/** The cookie's name has the port: browsers send a host's cookies to all of its ports. */
function nameOf({ protocol, host }: FastifyRequest): string {
  const isSecure = protocol === "https";
  const port = /:(\d{1,5})$/.exec(host)?.[1] ?? (isSecure ? "443" : "80");
  return `${isSecure ? "__Secure-" : ""}tw_${port}`;
}

function attributesOf({ protocol }: FastifyRequest): string {
  return `Path=/console/session; HttpOnly; SameSite=Strict${protocol === "https" ? "; Secure" : ""}`;
}

/** The refresh token that a request's cookie holds; undefined without one. */
export function cookieToken(request: FastifyRequest): string | undefined {
  const prefix = `${nameOf(request)}=`;
  for (const part of (request.headers.cookie ?? "").split(";")) {
    const pair = part.trim();
    if (!pair.startsWith(prefix)) continue;
    const value = pair.slice(prefix.length);
    return tokenShape.test(value) ? value : undefined;
  }
  return undefined;
}

/** The Set-Cookie header that keeps a refresh token where no script reads it. */
export function keepingCookie(request: FastifyRequest, refreshToken: string): string {
  return `${nameOf(request)}=${refreshToken}; ${attributesOf(request)}; Max-Age=${maxAgeSeconds}`;
}

/** The Set-Cookie header that removes the token. */
export function endingCookie(request: FastifyRequest): string {
  return `${nameOf(request)}=; ${attributesOf(request)}; Max-Age=0`;
}
