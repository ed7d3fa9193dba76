import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { GetInfoResponse } from "../../api/types.ts";

/** The facts that a server tells everybody; undefined until they came. */
export function useInfo(): GetInfoResponse | undefined {
  return useResource("info", (signal) => api("GET /v1/info", { signal, isPublic: true })).data;
}
