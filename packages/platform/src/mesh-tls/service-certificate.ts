import type { PeerCertificate } from "node:tls";

const spiffe = "spiffe://";
const trustDomain = `${spiffe}turnwright/`;

/** One name of Node's rendering, `kind:value`; a value with anything unusual in it stands in quotes. */
const altName = /([A-Za-z0-9 ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y;

function altNames(text: string): { kind: string; value: string }[] {
  const names: { kind: string; value: string }[] = [];
  altName.lastIndex = 0;
  while (altName.lastIndex < text.length) {
    const match = altName.exec(text);
    // What cannot be read to its end names nobody.
    if (match === null) return [];
    // No service's name needs quotes.
    if (!match[2]?.startsWith('"')) names.push({ kind: match[1] ?? "", value: match[2] ?? "" });
  }
  return names;
}

/**
 * The services that a certificate speaks for, from its subject alternative names: the one of its URI `spiffe://turnwright/<service>`,
 * else its DNS names. A certificate with several SPIFFE URIs, or with one of another trust domain, speaks for nobody.
 */
export function servicesOf(subjectAltName: string | undefined): readonly string[] {
  const names = altNames(subjectAltName ?? "");
  const identities = names.flatMap(({ kind, value }) => (kind === "URI" && value.startsWith(spiffe) ? [value] : []));
  const [identity, ...others] = identities;
  if (identity === undefined) return names.flatMap(({ kind, value }) => (kind === "DNS" ? [value.toLowerCase()] : []));
  if (others.length > 0 || !identity.startsWith(trustDomain)) return [];
  return [identity.slice(trustDomain.length)];
}

/**
 * A check for TLS clients that the far end is this service, whatever address it was reached at: addresses are the operator's, the name
 * in the certificate is the authority's word.
 */
export function expectService(service: string): (host: string, certificate: PeerCertificate) => Error | undefined {
  return (_host, certificate) => {
    const services = servicesOf(certificate.subjectaltname);
    if (services.includes(service)) return undefined;
    return new Error(`The server's certificate is for ${services.join(", ") || "no service"}, not for ${service}.`);
  };
}
