import assert from "node:assert/strict";
import { test } from "node:test";
import { fitHeartbeat, isOnPage, paceOf, pageInventory, turnPage } from "../../../agents/domain/guest-pages.ts";
import { makeUlids } from "../../../functions/runtime/system-ports.ts";
import { type CopyAlarm, type GuestPage, guestPages, HeartbeatRequest, onlyPage } from "../../../schemas/agent.ts";
import { InventoryReport } from "../../../schemas/inventory.ts";
import { VmSpec } from "../../../schemas/vm.ts";

const newId = makeUlids(
  () => 1_900_000_000_000,
  (length) => new Uint8Array(length).fill(7),
);
const copies = Array.from({ length: 1000 }, () => `copy_${newId()}`);
const allPages: GuestPage[] = Array.from({ length: guestPages }, (_, index) => ({ index, of: guestPages }));

test("a host with few guests tells of all of them each time; one with many turns its pages, each in its time", () => {
  assert.deepEqual(turnPage(onlyPage, 128), onlyPage);
  assert.ok(copies.every((copyId) => isOnPage(copyId, onlyPage)));
  assert.equal(paceOf(onlyPage, 10_000, 10_000), 10_000);

  const turned: GuestPage[] = [];
  for (let count = 0; count < guestPages; count++) turned.push(turnPage(turned.at(-1) ?? onlyPage, 129));
  assert.deepEqual(turned, allPages);
  assert.deepEqual(turnPage(allPages.at(-1) ?? onlyPage, 1000), allPages[0], "and round again");
  assert.deepEqual(turnPage(allPages[3] ?? onlyPage, 100), onlyPage);
  assert.equal(paceOf(allPages[0] ?? onlyPage, 10_000, 10_000) * guestPages, 10_000, "all within a heartbeat");
  assert.equal(paceOf(allPages[0] ?? onlyPage, 1000, 10_000), 1000);
});

test("every copy is on one page, and no page of a full host has many more than its share", () => {
  for (const copyId of copies) assert.equal(allPages.filter((page) => isOnPage(copyId, page)).length, 1);
  for (const page of allPages) assert.ok(copies.filter((copyId) => isOnPage(copyId, page)).length < 200);
});

const inventoryOf = (ids: readonly string[], tokens: number) => ({
  copies: ids.map((copyId, index) => ({
    vmId: `vm-${index}`.padEnd(63, "x"),
    copyId,
    spec: VmSpec.parse({}),
    migrationId: `mig_${copyId.slice(5)}`,
    machine: "running" as const,
    lockToken: Number.MAX_SAFE_INTEGER,
    lockFile: { copyId, fencingToken: Number.MAX_SAFE_INTEGER },
    gate: "cancelled" as const,
    isAtGate: false,
    wasPaused: false,
    ended: null,
  })),
  migrations: [],
  tokens: Array.from({ length: tokens }, (_, index) => ({ vmId: `vm-${index}`.padEnd(63, "x"), fencingToken: index })),
});

test("what a host tells when the table went back is one page, or pages that are each taken and together leave nothing out", () => {
  const few = inventoryOf(copies.slice(0, 128), 512);
  const [only, ...none] = pageInventory(few);
  assert.deepEqual(none, []);
  assert.deepEqual([only?.page, only?.copies, only?.tokens.length], [onlyPage, few.copies, 512]);

  const many = inventoryOf(copies, 1500);
  const pages = pageInventory(many);
  assert.deepEqual(
    pages.map(({ page }) => page),
    allPages,
  );
  for (const page of pages) {
    assert.ok(Buffer.byteLength(JSON.stringify(page)) <= 180 * 1024, "with room for what it tells of migrations");
    assert.equal(InventoryReport.safeParse(page).success, true);
  }
  const told = pages.flatMap((page) => page.copies.map(({ copyId }) => copyId));
  assert.deepEqual(told.sort(), [...copies].sort());
  assert.equal(pages.flatMap((page) => page.tokens).length, 1500);
  const later = pageInventory({ ...many, copies: many.copies.slice(1) });
  for (const [index, { copies: here }] of pages.entries()) {
    const left = here.filter(({ copyId }) => copyId !== copies[0]);
    assert.deepEqual(later[index]?.copies, left, "one that is gone moves no other");
  }
});

test("one page is told where neither the guests nor the tokens are too many for it", () => {
  const pagesOf = (guests: number, tokens: number) =>
    pageInventory(inventoryOf(copies.slice(0, guests), tokens)).length;
  assert.deepEqual([pagesOf(128, 512), pagesOf(129, 512), pagesOf(128, 513)], [1, guestPages, guestPages]);
});

test("migrations are told once, on the first page", () => {
  const migrations: InventoryReport["migrations"] = [{ migrationId: "mig_1", vmId: "vm-1" } as never];
  const [first, ...others] = pageInventory({ ...inventoryOf(copies, 0), migrations });
  assert.equal(first?.migrations, migrations);
  for (const page of others) assert.deepEqual(page.migrations, []);
});

test("of more tokens than a page takes the highest are told", () => {
  const letter = (number: number) => String.fromCharCode(97 + number);
  // Each name has the same sum of letters, and so the same page.
  const tokens = Array.from({ length: 600 }, (_, index) => {
    const [low, high] = [index % 25, Math.floor(index / 25)];
    return { vmId: [low, 25 - low, high, 25 - high].map(letter).join(""), fencingToken: (index * 7) % 600 };
  });
  const told = pageInventory({ copies: [], migrations: [], tokens }).flatMap((page) => page.tokens);
  assert.deepEqual(
    told.map(({ fencingToken }) => fencingToken),
    Array.from({ length: 512 }, (_, index) => 599 - index),
  );
});

/** As large as each can be. */
function largest(ids: readonly string[], detail: string): HeartbeatRequest {
  const vm = "v".repeat(63);
  const report = {
    bootId: "b".repeat(32),
    heartbeats: Number.MAX_SAFE_INTEGER,
    memoryErrors: Number.MAX_SAFE_INTEGER,
    longestGapMs: 1234567.123456789,
    uptimeMs: 1234567.123456789,
    dirtyMiBPerSecond: 1234567.123456789,
  };
  const codes: CopyAlarm["code"][] = ["guest-silent", "lock-file-not-held"];
  const alarms = ids.flatMap((copyId) => codes.map((code) => ({ vm, copyId, code, detail, standsForMs: 2 ** 50 })));
  return { page: onlyPage, guests: ids.map((copyId) => ({ vm, copyId, report })), alarms };
}
const bytesOf = (request: HeartbeatRequest): number => Buffer.byteLength(JSON.stringify(request));

test("the largest page of a full host is taken, whole where its alarms are short, and with every alarm in any case", () => {
  const ids = copies.slice(0, 200);
  assert.deepEqual(fitHeartbeat(largest(ids, "short")), largest(ids, "short"));
  const fitted = fitHeartbeat(largest(ids, "\u20ac".repeat(1000)));
  assert.ok(bytesOf(fitted) <= 256 * 1024);
  assert.equal(fitted.alarms?.length, 400);
  assert.equal(HeartbeatRequest.safeParse(fitted).success, true);
});

test("a heartbeat that is just small enough is told whole, and one byte more shortens its words", () => {
  const roomBytes = 240 * 1024;
  const base = largest(copies.slice(0, 1), "");
  const withDetail = (letters: number): HeartbeatRequest => {
    const [first, ...others] = base.alarms ?? [];
    assert.ok(first);
    return { ...base, alarms: [{ ...first, detail: "x".repeat(letters) }, ...others] };
  };
  const room = roomBytes - bytesOf(base);
  assert.deepEqual(fitHeartbeat(withDetail(room)), withDetail(room));
  assert.deepEqual(fitHeartbeat(withDetail(room + 1)), withDetail(100));
});

test("more guests and alarms than a heartbeat takes are cut off, and with long words all of them", () => {
  const guests = Array.from({ length: 600 }, (_, index) => ({ vm: `vm-${index}`, copyId: copies[index] ?? "" }));
  const alarms = Array.from({ length: 1100 }, (_, index) => ({ vm: "vm-1", copyId: `${index}` }));
  const request = { page: onlyPage, guests, alarms: alarms.map((alarm) => ({ ...alarm, detail: "" })) };
  const fitted = fitHeartbeat(request as never);
  assert.deepEqual(fitted.guests, guests.slice(0, 512));
  assert.deepEqual(fitted.alarms, request.alarms.slice(0, 1024));
  assert.deepEqual(fitHeartbeat(largest(copies, "x".repeat(1000))), { page: onlyPage, guests: [], alarms: [] });
  assert.deepEqual(fitHeartbeat({ page: onlyPage, guests: [] }), { page: onlyPage, guests: [], alarms: [] });
});

test("whatever a host has, its heartbeat is one that is taken", () => {
  for (const ids of [copies, [...copies, ...copies, ...copies]]) {
    const fitted = fitHeartbeat(largest(ids, "\u20ac".repeat(1000)));
    assert.ok(bytesOf(fitted) <= 256 * 1024);
    assert.equal(HeartbeatRequest.safeParse(fitted).success, true);
  }
});
