import { randomUUID } from "node:crypto";
import type { DescService } from "@bufbuild/protobuf";
import { Access } from "@turnwright/contract/auth/v1/access";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeProtos } from "../../packages/contract/tools/openapi/described-protos.ts";
import { badCredentials, tokensOfOtherKinds } from "./bad-credentials.ts";
import { type Entry, entriesOfServices, idFieldsOf, unguarded } from "./contract-routes.ts";
import { ask, requestOf } from "./entry-requests.ts";
import { send } from "./requests.ts";
import { type Account, type Stage, startStage } from "./stage.ts";
import { publicMethods, resourceKinds } from "./tenant-resources.ts";

const known = { publicMethods, kinds: Object.keys(resourceKinds) };
let services: readonly DescService[];
let entries: Entry[];
let stage: Stage;

beforeAll(async () => {
  services = describeProtos().services;
  entries = entriesOfServices(services);
  stage = await startStage();
}, 120_000);
afterAll(() => stage?.stop());

const openTo = (...accesses: Access[]) => entries.filter(({ access }) => accesses.includes(access));

const atOnce = 8;

/**
 * Checks cells, `atOnce` at a time; returns the descriptions of those that failed. Cells with the same `lane` run one
 * after another.
 */
async function failures<T>(
  cells: readonly T[],
  check: (cell: T, lane: number) => Promise<string | undefined>,
): Promise<string[]> {
  const failed: string[] = [];
  const left = [...cells];
  const worker = async (_: unknown, lane: number) => {
    for (let cell = left.shift(); cell !== undefined; cell = left.shift()) {
      const failure = await check(cell, lane);
      if (failure !== undefined) failed.push(failure);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return failed;
}

describe("the contract", () => {
  test("has no method outside the matrix", () => {
    expect(unguarded(services, known)).toEqual([]);
    expect(services.length).toBeGreaterThanOrEqual(8);
  });

  test.each([
    [
      "without an access rule",
      'rpc Peek(PeekRequest) returns (PeekResponse) { option (google.api.http) = {get: "/v1/peek"}; }',
      "PeekService.Peek: declares no access",
    ],
    [
      "that is public but not listed as public",
      'rpc Peek(PeekRequest) returns (PeekResponse) { option (google.api.http) = {get: "/v1/peek"}; option (turnwright.auth.v1.access) = ACCESS_PUBLIC; }',
      "PeekService.Peek: is public",
    ],
    [
      "with an unknown resource in its path",
      'rpc Peek(PeekRequest) returns (PeekResponse) { option (google.api.http) = {get: "/v1/shelves/{shelf_id}"}; option (turnwright.auth.v1.access) = ACCESS_USER; }',
      "PeekService.Peek: no resource is known for shelf_id",
    ],
    [
      "with an unknown resource in its path that is not named `_id`",
      'rpc Peek(PeekRequest) returns (PeekResponse) { option (google.api.http) = {get: "/v1/shelves/{name}"}; option (turnwright.auth.v1.access) = ACCESS_USER; }',
      "PeekService.Peek: no resource is known for name",
    ],
    [
      "with an unknown id in its body, or reachable by Connect only",
      "rpc Peek(PeekRequest) returns (PeekResponse) { option (turnwright.auth.v1.access) = ACCESS_USER; }",
      "PeekService.Peek: no resource is known for shelf_id",
    ],
  ])("fails the check with a new method %s", (_what, rpc, fault) => {
    const fixture = describeProtos(`syntax = "proto3";
package fixture.v1;
import "google/api/annotations.proto";
import "turnwright/auth/v1/access.proto";
// A service outside the matrix.
service PeekService {
  // Looks.
  ${rpc}
}
message PeekRequest {
  string shelf_id = 1;
  string name = 2;
}
message PeekResponse {}
`);
    expect(unguarded([...services, ...fixture.services], known).join("\n")).toContain(fault);
  });
});

describe("credential × route", () => {
  test("every bad credential is refused everywhere", async () => {
    const credentials = await badCredentials(stage);
    const guarded = openTo(Access.USER, Access.ADMIN);
    const cells = guarded.flatMap((entry) => credentials.map((credential) => ({ entry, credential })));
    const failed = await failures(cells, async ({ entry, credential }) => {
      const request = requestOf(entry);
      const answer = await ask(stage.baseUrl, entry, { ...request, headers: { ...request.headers, ...credential.headers } });
      return answer.status === 401 ? undefined : `${entry.name} with ${credential.name}: ${answer.status} ${answer.body}`;
    });
    console.log(`credential × route: ${guarded.length} routes × ${credentials.length} credentials = ${cells.length} cells`);
    expect(failed).toEqual([]);
    expect(cells.length).toBeGreaterThan(500);
  }, 120_000);

  test("every bad credential is refused on routes that the gateway serves without an annotation", async () => {
    const credentials = await badCredentials(stage);
    const paths = ["/v1/models/gpt-4o-mini"];
    const cells = paths.flatMap((path) => credentials.map((credential) => ({ path, credential })));
    const failed = await failures(cells, async ({ path, credential }) => {
      const { status } = await send(stage.baseUrl, { method: "GET", path, headers: credential.headers });
      return status === 401 ? undefined : `${path} with ${credential.name}: ${status}`;
    });
    expect(failed).toEqual([]);
  });

  test("a good credential is admitted on every route, so that refusals are due to the credential", async () => {
    const guarded = openTo(Access.USER, Access.ADMIN);
    const failed = await failures(guarded, async (entry) => {
      const account = await stage.account(entry.access === Access.ADMIN ? "admin" : "user");
      const request = requestOf(entry);
      const headers = { ...request.headers, authorization: `Bearer ${account.accessToken}` };
      // The contract's example has its own password, wrong for this account; a response about the password proves
      // admission. A stream may never end.
      const { status, body } = await ask(stage.baseUrl, entry, { ...request, headers, firstPiece: entry.isStream });
      const isInside = status < 500 && (status !== 401 || body.includes("current_password"));
      return isInside && status !== 403 ? undefined : `${entry.name}: ${status} ${body}`;
    });
    console.log(`good credential × route: ${guarded.length} cells`);
    expect(failed).toEqual([]);
  }, 120_000);

  test("a user is refused on every admin route, with a session or a key", async () => {
    const account = await stage.account();
    const { key } = await stage.call<{ key: string }>("POST", "/v1/api-keys", account.accessToken, { name: "user" });
    const cells = openTo(Access.ADMIN).flatMap((entry) => [account.accessToken, key].map((token) => ({ entry, token })));
    const failed = await failures(cells, async ({ entry, token }) => {
      const request = requestOf(entry, { user_id: account.userId });
      const headers = { ...request.headers, authorization: `Bearer ${token}` };
      const { status, body } = await ask(stage.baseUrl, entry, { ...request, headers });
      return status === 403 || status === 404 ? undefined : `${entry.name}: ${status} ${body}`;
    });
    console.log(`user × admin route: ${cells.length} cells`);
    expect(failed).toEqual([]);
    expect(cells.length).toBeGreaterThan(0);
  });

  test("no outside client reaches a method for services of the mesh", async () => {
    const account = await stage.account();
    const { internal, service } = await tokensOfOtherKinds(stage, account);
    const headersOf: Record<string, string>[] = [
      {},
      { authorization: `Bearer ${account.accessToken}` },
      { authorization: `Bearer ${stage.admin.accessToken}` },
      { authorization: `Bearer ${service}` },
      { authorization: `Bearer ${stage.admin.accessToken}`, "x-turnwright-service": service, "x-turnwright-identity": internal },
    ];
    const cells = openTo(Access.SERVICE, Access.UNSPECIFIED).flatMap((entry) => headersOf.map((given) => ({ entry, given })));
    const failed = await failures(cells, async ({ entry, given }) => {
      const request = requestOf(entry);
      const { status, body } = await ask(stage.baseUrl, entry, { ...request, headers: { ...request.headers, ...given } });
      return [401, 403, 404, 405].includes(status) ? undefined : `${entry.name} with ${Object.keys(given)}: ${status} ${body}`;
    });
    console.log(`outsider × service method: ${cells.length} cells`);
    expect(failed).toEqual([]);
    expect(cells.length).toBeGreaterThan(0);
  });
});

describe("route × tenant", () => {
  let stranger: Account;
  /** An owner for each lane: cells of one owner never overlap, and need no password hashes of their own. */
  let owners: Account[];
  beforeAll(async () => {
    stranger = await stage.account();
    owners = await Promise.all(Array.from({ length: atOnce }, () => stage.account()));
  });

  test("another tenant's resource appears not to exist, and stays unchanged", async () => {
    const cells = openTo(Access.USER, Access.ADMIN).flatMap((entry) =>
      idFieldsOf(entry).flatMap((field) => (resourceKinds[field] ?? []).map((make, state) => ({ entry, field, make, state }))),
    );
    const failed = await failures(cells, async ({ entry, field, make, state }, lane) => {
      const owner = owners[lane] as Account;
      const resource = await make(stage, owner);
      const before = await resource.look();
      const absent = randomUUID();
      const [theirs, nobodys] = await Promise.all(
        [resource.id, absent].map(async (id) => {
          const request = requestOf(entry, { ...resource.beside, [field]: id });
          // A fixed request id, which errors repeat, so that responses can be compared byte by byte.
          const headers = {
            ...request.headers,
            authorization: `Bearer ${stranger.accessToken}`,
            "x-request-id": "route-matrix",
          };
          const { status, body } = await ask(stage.baseUrl, entry, { ...request, headers });
          return { status, body: body.replaceAll(id, "<id>") };
        }),
      );
      const where = `${entry.name}, ${field}, state ${state}`;
      const expected = entry.access === Access.ADMIN ? 403 : 404;
      if (theirs?.status !== expected) return `${where}: ${theirs?.status} ${theirs?.body}`;
      if (JSON.stringify(theirs) !== JSON.stringify(nobodys)) return `${where}: tells ${theirs.body} from ${nobodys?.body}`;
      const after = await resource.look();
      return JSON.stringify(after) === JSON.stringify(before) ? undefined : `${where}: has changed`;
    });
    console.log(`route × tenant: ${cells.length} cells`);
    expect(failed).toEqual([]);
    expect(cells.length).toBeGreaterThanOrEqual(20);
  }, 120_000);

  test("the owner reaches each of them by the same requests, so that refusals are due to the tenant", async () => {
    const cells = openTo(Access.USER).flatMap((entry) =>
      idFieldsOf(entry).flatMap((field) => (resourceKinds[field] ?? []).map((make) => ({ entry, field, make }))),
    );
    const failed = await failures(cells, async ({ entry, field, make }, lane) => {
      const owner = owners[lane] as Account;
      const { id, beside } = await make(stage, owner);
      const request = requestOf(entry, { ...beside, [field]: id });
      const headers = { ...request.headers, authorization: `Bearer ${owner.accessToken}` };
      const { status, body } = await ask(stage.baseUrl, entry, { ...request, headers, firstPiece: true });
      // 409: a conversation that waits accepts no message; one that does not wait has nothing to approve.
      return status < 300 || status === 409 ? undefined : `${entry.name}, ${field}: ${status} ${body}`;
    });
    console.log(`owner × route: ${cells.length} cells`);
    expect(failed).toEqual([]);
  }, 120_000);

  test("lists contain nothing of another tenant", async () => {
    const owner = await stage.account();
    const ids = await Promise.all(
      Object.values(resourceKinds)
        .flat()
        .map(async (make) => (await make(stage, owner)).id),
    );
    const lists = openTo(Access.USER).filter((entry) => entry.method.name.startsWith("List") && idFieldsOf(entry).length === 0);
    expect(lists.length).toBeGreaterThan(5);
    const failed = await failures(lists, async (entry) => {
      const request = requestOf(entry);
      const headers = { ...request.headers, authorization: `Bearer ${stranger.accessToken}` };
      const { status, body } = await ask(stage.baseUrl, entry, { ...request, headers });
      const leaked = ids.filter((id) => body.includes(id));
      return status === 200 && leaked.length === 0 ? undefined : `${entry.name}: ${status}, with ${leaked}`;
    });
    console.log(`list × tenant: ${lists.length} lists × ${ids.length} resources`);
    expect(failed).toEqual([]);
  });
});
