import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A certificate and its key, as PEM. */
export interface IssuedCertificate {
  readonly cert: string;
  readonly key: string;
}

/** The content of a certificate. */
export interface CertificateRequest {
  /** Names the service in the URI `spiffe://turnwright/<service>`. */
  readonly service?: string;
  /** Additional URIs. */
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  /** Default: one hour ago. */
  readonly notBefore?: Date;
  /** Default: in one hour. */
  readonly notAfter?: Date;
}

/** A certificate authority for tests. */
export interface TestAuthority {
  /** Its own certificate, as PEM. */
  readonly cert: string;
  /** Issues a certificate for servers and clients. */
  issue(request: CertificateRequest): IssuedCertificate;
}

const hourMs = 3_600_000;

function der(tag: number, ...contents: readonly (Buffer | string)[]): Buffer {
  const body = Buffer.concat(contents.map((content) => (typeof content === "string" ? Buffer.from(content, "latin1") : content)));
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  const length = Buffer.from(body.length.toString(16).padStart(body.length < 0x100 ? 2 : 4, "0"), "hex");
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, body]);
}

const sequence = (...contents: Buffer[]) => der(0x30, ...contents);
const oid = (hex: string) => der(0x06, Buffer.from(hex, "hex"));
const octets = (content: Buffer) => der(0x04, content);
const yes = der(0x01, Buffer.from([0xff]));

const ecdsaWithSha256 = sequence(oid("2a8648ce3d040302"));
const commonName = (name: string) => sequence(der(0x31, sequence(oid("550403"), der(0x0c, name))));

/** UTCTime, valid until 2049. */
function time(date: Date): Buffer {
  const digits = date.toISOString().replaceAll(/[-:T]|\.\d+/g, "");
  return der(0x17, digits.slice(2));
}

interface Content {
  readonly subject: string;
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly extensions: readonly Buffer[];
}

function pem(label: string, bytes: Buffer): string {
  return `-----BEGIN ${label}-----\n${bytes.toString("base64").replaceAll(/.{64}/g, "$&\n").trimEnd()}\n-----END ${label}-----\n`;
}

function certificate(content: Content, issuerKey: KeyObject): string {
  const serial = randomBytes(16);
  serial[0] = 0x40 | ((serial[0] ?? 0) & 0x3f);
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    ecdsaWithSha256,
    commonName(content.issuer),
    sequence(time(content.notBefore), time(content.notAfter)),
    commonName(content.subject),
    content.publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(...content.extensions)),
  );
  const signature = sign("sha256", body, issuerKey);
  return pem("CERTIFICATE", sequence(body, ecdsaWithSha256, der(0x03, Buffer.from([0]), signature)));
}

const newKeys = () => generateKeyPairSync("ec", { namedCurve: "P-256" });

/** Creates a certificate authority; two with the same name are still different. */
export function createTestAuthority(name = "Turnwright test authority"): TestAuthority {
  const { privateKey, publicKey } = newKeys();
  const around = () => ({ notBefore: new Date(Date.now() - hourMs), notAfter: new Date(Date.now() + hourMs) });
  const isAuthority = sequence(oid("551d13"), yes, octets(sequence(yes)));
  const cert = certificate({ subject: name, issuer: name, publicKey, ...around(), extensions: [isAuthority] }, privateKey);
  return {
    cert,
    issue(request) {
      const keys = newKeys();
      const uris = [
        ...(request.service === undefined ? [] : [`spiffe://turnwright/${request.service}`]),
        ...(request.uris ?? []),
      ];
      const names = [...uris.map((uri) => der(0x86, uri)), ...(request.dnsNames ?? []).map((host) => der(0x82, host))];
      const extensions = [
        // Extended key usage: server and client.
        sequence(oid("551d25"), octets(sequence(oid("2b06010505070301"), oid("2b06010505070302")))),
        ...(names.length === 0 ? [] : [sequence(oid("551d11"), octets(sequence(...names)))]),
      ];
      const { notBefore, notAfter } = { ...around(), ...request };
      const content = { subject: "part", issuer: name, publicKey: keys.publicKey, notBefore, notAfter, extensions };
      return { cert: certificate(content, privateKey), key: keys.privateKey.export({ type: "pkcs8", format: "pem" }) as string };
    },
  };
}

/** Writes the authority's certificate and an issued one into a directory; returns the variables with the file paths. */
export function writeCertificates(directory: string, authority: Pick<TestAuthority, "cert">, issued: IssuedCertificate) {
  mkdirSync(directory, { recursive: true });
  const paths = {
    MESH_TLS_CA: join(directory, "ca.crt"),
    MESH_TLS_CERT: join(directory, "service.crt"),
    MESH_TLS_KEY: join(directory, "service.key"),
  };
  writeFileSync(paths.MESH_TLS_CA, authority.cert);
  writeFileSync(paths.MESH_TLS_CERT, issued.cert);
  writeFileSync(paths.MESH_TLS_KEY, issued.key, { mode: 0o600 });
  return paths;
}
