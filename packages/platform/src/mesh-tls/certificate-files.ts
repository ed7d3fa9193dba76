import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { servicesOf } from "./service-certificate.ts";

/** Paths of PEM files: a part's certificate, its key and the mesh's certificate authority. */
export interface MeshTlsPaths {
  readonly MESH_TLS_CA: string;
  readonly MESH_TLS_CERT: string;
  readonly MESH_TLS_KEY: string;
}

/** The content of the files, as PEM. */
export interface MeshTlsMaterial {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
  /** The services named by the certificate. */
  readonly services: readonly string[];
}

const names = ["MESH_TLS_CA", "MESH_TLS_CERT", "MESH_TLS_KEY"] as const;

/** The configured paths; undefined when TLS is off. */
export function meshTlsPaths(values: Readonly<Partial<Record<string, unknown>>>): MeshTlsPaths | undefined {
  return names.every((name) => typeof values[name] === "string") ? (values as unknown as MeshTlsPaths) : undefined;
}

const certificateBlock = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/** The certificates of a PEM file; throws when the file contains none or an invalid one. */
function certificatesIn(pem: Buffer): X509Certificate[] {
  const blocks = pem.toString("utf8").match(certificateBlock) ?? [];
  if (blocks.length === 0) throw new Error("no certificate");
  return blocks.map((block) => new X509Certificate(block));
}

/** Reads the files. Returns all faults, one line each, instead of material that cannot serve `service`. */
export function readMeshTls(paths: MeshTlsPaths, service?: string): MeshTlsMaterial | { readonly faults: readonly string[] } {
  const faults: string[] = [];
  const attempt = <T>(name: keyof MeshTlsPaths, what: string, read: () => T): T | undefined => {
    try {
      return read();
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code;
      faults.push(`${name}: ${paths[name]} ${what}${reason === undefined ? "" : ` (${reason})`}`);
      return undefined;
    }
  };
  const fileOf = (name: keyof MeshTlsPaths) => attempt(name, "cannot be read", () => readFileSync(paths[name]));
  const [ca, cert, key] = [fileOf("MESH_TLS_CA"), fileOf("MESH_TLS_CERT"), fileOf("MESH_TLS_KEY")];
  if (ca !== undefined) attempt("MESH_TLS_CA", "is not a PEM certificate", () => certificatesIn(ca));
  const leaf = cert && attempt("MESH_TLS_CERT", "is not a PEM certificate", () => certificatesIn(cert)[0]);
  const secret = key && attempt("MESH_TLS_KEY", "is not a PEM private key without a passphrase", () => createPrivateKey(key));

  const services = servicesOf(leaf?.subjectAltName);
  if (leaf !== undefined) {
    if (secret !== undefined && !leaf.checkPrivateKey(secret)) {
      faults.push(`MESH_TLS_KEY: ${paths.MESH_TLS_KEY} is not the key of the certificate in MESH_TLS_CERT`);
    }
    if (leaf.validToDate.getTime() <= Date.now()) {
      faults.push(`MESH_TLS_CERT: ${paths.MESH_TLS_CERT} expired on ${leaf.validToDate.toISOString()}`);
    }
    if (service !== undefined && !services.includes(service)) {
      faults.push(`MESH_TLS_CERT: ${paths.MESH_TLS_CERT} is for ${services.join(", ") || "no service"}, not for ${service}`);
    }
  }
  if (ca === undefined || cert === undefined || key === undefined || faults.length > 0) return { faults };
  return { ca, cert, key, services };
}

/** Faults of a service's TLS configuration; none when TLS is off. For `loadConfig`. */
export function meshTlsFaults(service: string): (values: Readonly<Record<string, string>>) => readonly string[] {
  return (values) => {
    const paths = meshTlsPaths(values);
    if (paths !== undefined) {
      const read = readMeshTls(paths, service);
      return "faults" in read ? read.faults : [];
    }
    const given = names.filter((name) => name in values);
    if (given.length === 0) return [];
    return names.filter((name) => !given.includes(name)).map((name) => `${name}: is required with ${given.join(" and ")}`);
  };
}
