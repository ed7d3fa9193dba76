import { create } from "@bufbuild/protobuf";
import { createClient, createContextValues, createHandlerContext } from "@connectrpc/connect";
import { RunService } from "@turnwright/contract/agent/v1/run_service";
import { IdentitySchema } from "@turnwright/contract/auth/v1/identity";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { identityKey, internalTokenHeader } from "@turnwright/platform/identity/identity";
import { createInProcessTransport } from "@turnwright/platform/rpc/in-process";
import { mount } from "@turnwright/platform/rpc/mount";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { testUser } from "../../testing/orchestrator.ts";
import { ReaderCredentials } from "./reader-credentials.ts";

let minted: number;
let refusal: unknown;
let readers: ReaderCredentials;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] });
  minted = 0;
  refusal = undefined;
  const mintInternalToken = () => {
    minted += 1;
    if (refusal !== undefined) throw refusal;
    return { internalToken: `minted-${minted}` };
  };
  const transport = createInProcessTransport({ mounts: [mount(TokenService, { mintInternalToken } as never)] });
  readers = new ReaderCredentials({ tokens: createClient(TokenService, transport) });
});

afterEach(() => {
  vi.useRealTimers();
});

function reader(tokenId = testUser.tokenId) {
  const contextValues = createContextValues();
  contextValues.set(identityKey, create(IdentitySchema, { ...testUser, tokenId }));
  return readers.of(
    createHandlerContext({
      service: RunService,
      method: RunService.method.streamRunEvents,
      protocolName: "test",
      requestMethod: "POST",
      url: "",
      requestHeader: { [internalTokenHeader]: "own" },
      contextValues,
    }),
  );
}

const tokenOf = async (one: ReturnType<typeof reader>) => new Headers((await one.options()).headers).get(internalTokenHeader);
const pass = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1_000);

test("a reader uses the token it came with, and when that may have expired, one that all readers of its credential share", async () => {
  const all = Array.from({ length: 100 }, () => reader());
  expect(await tokenOf(all[0] as never)).toBe("own");
  pass(29);
  expect(await tokenOf(all[0] as never)).toBe("own");
  expect(minted).toBe(0);
  pass(3_600);
  expect(new Set(await Promise.all(all.map(tokenOf)))).toEqual(new Set(["minted-1"]));
  const other = reader("0198a000-0000-7000-8000-000000000009");
  pass(100);
  expect(await tokenOf(other)).toBe("minted-2");
  pass(239);
  expect(await tokenOf(all[1] as never)).toBe("minted-3");
});

test("a reader whose credential has ended is told so", async () => {
  const one = reader();
  pass(60);
  refusal = fail(ErrorReason.RUN_CREDENTIAL_ENDED, "The key was revoked.");
  const error = await one.options().catch((caught: unknown) => caught);
  expect(reasonOf(error)).toBe(ErrorReason.INVALID_TOKEN);
  refusal = undefined;
  expect(await tokenOf(one)).toBe("minted-2");
});

test("during an outage of auth, readers keep the tokens they have", async () => {
  const [one, two] = [reader(), reader()];
  pass(60);
  refusal = fail(ErrorReason.UNAVAILABLE, "away");
  expect(await tokenOf(one)).toBe("own");
  refusal = undefined;
  expect(await tokenOf(two)).toBe("minted-2");
  pass(241);
  refusal = fail(ErrorReason.UNAVAILABLE, "away");
  expect(await tokenOf(one)).toBe("minted-2");
  refusal = undefined;
  pass(11);
  expect(await tokenOf(one)).toBe("minted-4");
});
