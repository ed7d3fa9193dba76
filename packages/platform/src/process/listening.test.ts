import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { expect, test } from "vitest";
import { checkListenAddress } from "./listening.ts";

const variables = { portVariable: "SERVER_PORT", hostVariable: "SERVER_HOST" };

test("a port that another process has is found, on every address", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  for (const host of ["127.0.0.1", "0.0.0.0", "::"]) {
    await expect(checkListenAddress({ ...variables, port, host })).rejects.toMatchObject({
      faults: [`SERVER_PORT: another process has port ${port}; end it or set another port`],
    });
  }
  server.close();
  await once(server, "close");
  // The check itself leaves the port free.
  for (const _ of [1, 2]) await checkListenAddress({ ...variables, port, host: "127.0.0.1" });
});

test("an address of another machine is found, and any free port is possible", async () => {
  await expect(checkListenAddress({ ...variables, port: 0, host: "192.0.2.1" })).rejects.toMatchObject({
    faults: ["SERVER_HOST: this machine has no address 192.0.2.1"],
  });
  await checkListenAddress({ ...variables, port: 0, host: "127.0.0.1" });
});
