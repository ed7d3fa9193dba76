import type { PeerCertificate } from "node:tls";

const spiffe = "spiffe://";
const trustDomain = `${spiffe}turnwright/`;

/** One name in Node's rendering, `kind:value`; a value with unusual characters is quoted. */
const altName = /([A-Za-z0-9 ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y;

function altNames(text: string): { kind: string; value: string }[] {
  const names: { kind: string; value: string }[] = [];
  altName.lastIndex = 0;
  while (altName.lastIndex < text.length) {
    const match = altName.exec(text);
    // A list that cannot be parsed to its end names no service.
    if (match === null) return [];
    // No service name needs quotes.
    if (!match[2]?.startsWith('"')) names.push({ kind: match[1] ?? "", value: match[2] ?? "" });
  }
  return names;
}

/**
 * The services named by a certificate's subject alternative names: by its URI `spiffe://turnwright/<service>`, else by
 * its DNS names. A certificate with several SPIFFE URIs, or with one of another trust domain, names no service.
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
 * Creates a check for TLS clients that the peer is this service, regardless of the address used: operators choose
 * addresses, but the certificate authority vouches for the name in the certificate.
 */
export function expectService(service: string): (host: string, certificate: PeerCertificate) => Error | undefined {
  return (_host, certificate) => {
    const services = servicesOf(certificate.subjectaltname);
    if (services.includes(service)) return undefined;
    return new Error(`The server's certificate is for ${services.join(", ") || "no service"}, not for ${service}.`);
  };
}
