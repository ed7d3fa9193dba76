import { lookup } from "node:dns";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { request } from "undici";
import { afterAll, beforeAll, expect, test } from "vitest";
import { isLoopback, refusedAddresses } from "./loopback-only.ts";

const server = createServer((_request, response) => response.end("here"));
beforeAll(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterAll(() => server.close());
const port = () => (server.address() as AddressInfo).port;

test("this machine is reached by its addresses and by its name", async () => {
  for (const host of ["127.0.0.1", "localhost"]) {
    expect(await (await fetch(`http://${host}:${port()}/`)).text()).toBe("here");
    expect(await (await request(`http://${host}:${port()}/`)).body.text()).toBe("here");
  }
});

test.each(["192.0.2.1", "2001:db8::1"])(
  "a socket to %s, of a block that is for documentation alone, is never opened",
  async (host) => {
    const socket = connect({ host, port: 9 });
    const [error] = await once(socket, "error");
    expect(String(error)).toContain("this machine only");
    expect(refusedAddresses).toContain(host);
    expect(isLoopback(host)).toBe(false);
  },
);

test("an address from a custom lookup is refused as well", async () => {
  const socket = connect({
    host: "elsewhere.example",
    port: 9,
    lookup: (_host, _options, callback) => callback(null, [{ address: "192.0.2.2", family: 4 }]),
  });
  await once(socket, "error");
  expect(refusedAddresses).toContain("192.0.2.2");
});

test("no name server is asked", async () => {
  const answer = new Promise((resolve) => lookup("elsewhere.example", (error) => resolve(error?.code)));
  expect(await answer).toBe("ENOTFOUND");
});
