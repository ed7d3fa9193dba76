import type { DescMethodUnary } from "@bufbuild/protobuf";
import type { SurfaceCall } from "./surfaces.ts";

/** One resource to create. */
export interface Creation {
  readonly call: SurfaceCall;
  /** A different request for the same key. */
  readonly other: SurfaceCall;
  /** How often the resource was created, given the text of a response. */
  effects(answer: string): Promise<number>;
  /** The part of a response that must be equal in all of them; by default the whole response. */
  named?(answer: string): string;
}

/** The account that creates, and its access to the results. */
export interface Creator {
  readonly baseUrl: string;
  readonly token: string;
  readonly adminToken: string;
}

/** A method that creates something. */
export interface CreationKind {
  readonly method: DescMethodUnary;
  make(creator: Creator): Promise<Creation>;
}

/** Makes a creation of a kind. */
export type CreationMaker = CreationKind["make"];

/** Reads a resource. */
export async function get<T>({ baseUrl }: Creator, token: string, path: string): Promise<T> {
  const response = await fetch(baseUrl + path, { headers: { authorization: `Bearer ${token}` } });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return ((await response.json()) as { data: T }).data;
}

type Fields = SurfaceCall["message"];

/** The calls of a creation: one method and path with two different messages. */
export function calls(method: DescMethodUnary, path: string, token: string | undefined, message: Fields, other: Fields) {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const call = { method, path, headers };
  return { call: { ...call, message }, other: { ...call, message: other } };
}
