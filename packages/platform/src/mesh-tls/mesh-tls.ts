import { stat } from "node:fs/promises";
import { type ChannelCredentials, experimental, type ServerCredentials } from "@grpc/grpc-js";
import { guarded } from "../async/guarded.ts";
import { ConfigError } from "../config/env.ts";
import type { Logger } from "../logger.ts";
import { type MeshTlsMaterial, type MeshTlsPaths, readMeshTls } from "./certificate-files.ts";
import { expectService } from "./service-certificate.ts";

/** One part's side of mutual TLS in the mesh. */
export interface MeshTls {
  /** For a server: presents the part's certificate and requires one of the mesh's authority from every client. */
  serverCredentials(): ServerCredentials;
  /**
   * For a client of a service: presents the part's certificate and accepts only a server with a certificate of that
   * service.
   */
  channelCredentials(peer: string): ChannelCredentials;
  /** Reads the files if they changed; resolves to whether new connections use new certificates. */
  refresh(): Promise<boolean>;
  /** Stops watching the files. */
  close(): void;
}

const refreshIntervalMs = 60_000;

/** Passes the newest material to grpc-js; certificate and key always come from the same read. */
class Certificates implements experimental.CertificateProvider {
  #material: MeshTlsMaterial;
  readonly #caListeners = new Set<experimental.CaCertificateUpdateListener>();
  readonly #identityListeners = new Set<experimental.IdentityCertificateUpdateListener>();

  constructor(material: MeshTlsMaterial) {
    this.#material = material;
  }

  get #ca(): experimental.CaCertificateUpdate {
    return { caCertificate: this.#material.ca };
  }

  get #identity(): experimental.IdentityCertificateUpdate {
    return { certificate: this.#material.cert, privateKey: this.#material.key };
  }

  replace(material: MeshTlsMaterial): void {
    this.#material = material;
    for (const listener of this.#caListeners) listener(this.#ca);
    for (const listener of this.#identityListeners) listener(this.#identity);
  }

  // Credentials miss updates that arrive while they are registering.
  addCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#caListeners.add(listener);
    queueMicrotask(() => listener(this.#ca));
  }

  removeCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#caListeners.delete(listener);
  }

  addIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#identityListeners.add(listener);
    queueMicrotask(() => listener(this.#identity));
  }

  removeIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#identityListeners.delete(listener);
  }
}

async function versionOf(paths: MeshTlsPaths): Promise<string> {
  const stats = await Promise.all([paths.MESH_TLS_CA, paths.MESH_TLS_CERT, paths.MESH_TLS_KEY].map((path) => stat(path)));
  return stats.map(({ mtimeMs, ino, size }) => `${mtimeMs}:${ino}:${size}`).join(" ");
}

/**
 * Opens a part's certificates and watches their files, with a check each minute. New connections use new certificates;
 * open connections are kept. Files that do not match each other are logged and ignored, and the old certificates stay
 * in use. Throws ConfigError when the first read fails.
 */
export function openMeshTls(options: { paths: MeshTlsPaths; service: string; logger: Logger }): MeshTls {
  const { paths, service, logger } = options;
  const first = readMeshTls(paths, service);
  if ("faults" in first) throw new ConfigError(first.faults);
  const certificates = new Certificates(first);
  let version: string | undefined;
  let current = first;

  async function refresh(): Promise<boolean> {
    const found = await versionOf(paths).catch((error: unknown) => {
      logger.error({ err: error }, "mesh certificates cannot be read; the old ones stay in use");
      return version;
    });
    if (found === version) return false;
    const read = readMeshTls(paths, service);
    if ("faults" in read) {
      logger.error({ faults: read.faults }, "mesh certificates are unusable; the old ones stay in use");
      return false;
    }
    version = found;
    if (read.ca.equals(current.ca) && read.cert.equals(current.cert) && read.key.equals(current.key)) return false;
    current = read;
    certificates.replace(read);
    logger.info({ services: read.services }, "new mesh connections use new certificates");
    return true;
  }

  const timer = setInterval(guarded(logger, "reading mesh certificates", refresh), refreshIntervalMs).unref();
  return {
    serverCredentials: () => experimental.createCertificateProviderServerCredentials(certificates, certificates, true),
    channelCredentials: (peer) =>
      experimental.createCertificateProviderChannelCredentials(certificates, certificates, {
        checkServerIdentity: expectService(peer),
      }),
    refresh,
    close: () => clearInterval(timer),
  };
}
