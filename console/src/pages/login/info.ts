import { request } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";

/** The public facts of a server, `GET /v1/info`. */
export interface Info {
  readonly version: string;
  /** `open`, `invite` or `closed`. */
  readonly registration: string;
  readonly demo_model: boolean;
}

/** The server's information; undefined until it came, and from a server that has none. */
export function useInfo(): Info | undefined {
  return useResource("info", (signal) => request<Info>("/v1/info", { signal, isPublic: true })).data;
}
