import { describe, expect, test } from "vitest";
import type { LivePiece } from "./live-log.ts";
import { Mailbox } from "./mailbox.ts";

const piece = (units: number, text = ""): LivePiece => ({ at: { seq: 1, units }, frames: [{ type: "content", delta: text }] });
const deliver = (mailbox: Mailbox, sent: LivePiece) => mailbox.deliver(JSON.stringify(sent));

describe("a watcher's mailbox", () => {
  test("gives pieces in their order, then the tick", async () => {
    const mailbox = new Mailbox();
    deliver(mailbox, piece(0));
    mailbox.tick();
    mailbox.tick();
    deliver(mailbox, piece(1));
    expect(await mailbox.next()).toEqual(piece(0));
    expect(await mailbox.next()).toEqual(piece(1));
    expect(await mailbox.next()).toBe("tick");
    const later = mailbox.next();
    deliver(mailbox, piece(2));
    expect(await later).toEqual(piece(2));
  });

  test("holds nothing for a watcher that is far behind until the watcher knows that it missed pieces", async () => {
    const mailbox = new Mailbox();
    const kilobyte = "x".repeat(1_024);
    for (let i = 0; i < 1_000; i++) deliver(mailbox, piece(i, kilobyte));
    expect(await mailbox.next()).toBe("missed");
    deliver(mailbox, piece(2_000));
    expect(await mailbox.next()).toEqual(piece(2_000));
  });

  test("ends for a waiting watcher when it is closed", async () => {
    const mailbox = new Mailbox();
    const next = mailbox.next();
    mailbox.close();
    expect(await next).toBeUndefined();
  });
});
