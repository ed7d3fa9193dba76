import type { ServiceImpl } from "@connectrpc/connect";
import { type Mount, mount } from "@turnwright/platform/rpc/mount";
import { afterAll, afterEach, beforeAll } from "vitest";
import { type FakeTokens, type Fixture, startFixture } from "./gateway.ts";
import { compileLibrary, type Library } from "./library.ts";
import { dial, type RawConnection } from "./raw-connection.ts";

/** A gateway in front of the library service, for all tests of a file. */
export interface LibraryGateway {
  readonly library: Library;
  readonly mount: Mount;
  /** The listening gateway; valid inside tests. */
  readonly fixture: Fixture;
  /** A raw connection to the gateway, which is destroyed after the test. */
  open(): Promise<RawConnection>;
}

/** Handlers that answer every method of the library at once. */
const handlers = {
  listBooks: () => ({ total: 1 }),
  putBook: () => ({ book: {} }),
  read: ({ text }: { text: string }) => ({ word: text }),
  async *watchShelf() {
    yield { word: "seen" };
  },
  async *streamRead() {
    yield { word: "read" };
  },
  getRules: () => ({}),
  inventory: () => ({}),
};

/** Registers hooks that start one gateway for all tests of a file and close it after them. */
export function useLibraryGateway(env: Readonly<Record<string, string>>, tokens?: FakeTokens): LibraryGateway {
  const library = compileLibrary();
  const served = mount(library.service, handlers as unknown as ServiceImpl<typeof library.service>);
  const connections: RawConnection[] = [];
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await startFixture({ mounts: [served], env, tokens });
  });
  afterEach(() => {
    for (const { socket } of connections.splice(0)) socket.destroy();
  });
  afterAll(() => fixture.close());
  return {
    library,
    mount: served,
    get fixture() {
      return fixture;
    },
    async open() {
      const connection = await dial(fixture.port);
      connections.push(connection);
      return connection;
    },
  };
}
