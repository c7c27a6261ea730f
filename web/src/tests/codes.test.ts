// Codes people hand each other, and addresses inside the page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type AccessRequest, AccessRequestShape, encodeAs, HceError, SignedTokenShape, toHex } from "../../sdk/src/index.ts";
import { decodeAs, fromHex } from "../../sdk/src/index.ts";
import { routeOf } from "../app/route.ts";
import { askCode, helloCode, readHello, readRequest, readWish } from "../network/codes.ts";
import { screenOf, toScreen } from "../clinician/links.ts";
import { dayWords, today } from "../words/dates.ts";

const bytes = (size: number): Uint8Array<ArrayBuffer> => new Uint8Array(size).fill(7);
const REQUEST: AccessRequest = {
  chain: bytes(16),
  grantee: bytes(32),
  readerKey: bytes(32),
  inboxKey: bytes(1216),
  purpose: "treatment",
  mode: "read",
  dateFrom: "2020-01-01",
  dateTo: "2030-12-31",
};

test("a request is read from its code, from a link, from capitals, and from bare hex", () => {
  const hex = toHex(encodeAs(AccessRequestShape, REQUEST));
  for (const text of [`hce:ask:${hex}`, `http://localhost:7180/#/approve/${hex}\n`, `HCE:ASK:${hex.toUpperCase()}`, hex]) {
    assert.deepEqual(readRequest(text), REQUEST);
  }
});

test("anything else is refused by name", () => {
  const hex = toHex(encodeAs(AccessRequestShape, REQUEST));
  for (const text of ["", "hello", hex.slice(2), `${hex}00`, "hce:ask:abc"]) {
    assert.throws(
      () => readRequest(text),
      (error) => error instanceof HceError && error.code === "code.unreadable",
    );
  }
});

test("a request brings what is wished, and nothing that is not", () => {
  const hex = toHex(encodeAs(AccessRequestShape, REQUEST));
  const wish = { days: 30, reason: "复查血压, follow-up" };
  const code = askCode(hex, wish);
  assert.match(code, /^HCE:ASK:[0-9A-F.]+$/);
  for (const text of [code, `http://localhost:7180/#/approve/${code.slice("HCE:ASK:".length)} `]) {
    assert.deepEqual([readRequest(text), readWish(text)], [REQUEST, wish]);
  }
  const nothing = { days: 0, reason: "" };
  for (const odd of [hex, `00.${hex}`, askCode(hex, { days: 8, reason: "" }), askCode(hex, { days: 7, reason: "x".repeat(121) })]) {
    assert.deepEqual([readRequest(odd), readWish(odd)], [REQUEST, nothing]);
  }
});

test("a person's own code holds the token and nothing more", () => {
  const token = { compartmentId: bytes(32), orgId: bytes(32), feed: bytes(32), serial: 7, expiresMs: 1 };
  const signed = { token, ownerKey: bytes(32), feedReadKey: bytes(32), signature: bytes(64) };
  const code = helloCode(signed);
  assert.match(code, /^HCE:HELLO:[0-9A-F]+$/); // what a QR code holds in its denser alphabet
  assert.deepEqual(decodeAs(SignedTokenShape, fromHex(code.slice("HCE:HELLO:".length).toLowerCase())), signed);
  assert.deepEqual(readHello(` ${code}\n`), signed);
  for (const text of ["", "hello", code.slice(0, -2), toHex(encodeAs(AccessRequestShape, REQUEST))]) {
    assert.throws(
      () => readHello(text),
      (error) => error instanceof HceError && error.code === "code.no_hello",
    );
  }
});

test("a clinician's screens have addresses of their own", () => {
  const [place, rest] = routeOf(toScreen("correct", "p1", "r1"));
  assert.deepEqual([place, ...screenOf(rest)], ["clinic", "correct", "p1/r1"]);
  assert.deepEqual(
    [screenOf(""), screenOf("me")],
    [
      ["", ""],
      ["me", ""],
    ],
  );
});

test("addresses behind # are a place and a rest", () => {
  assert.deepEqual(routeOf("#/approve/ab12"), ["approve", "ab12"]);
  assert.deepEqual(
    [routeOf(""), routeOf("#/"), routeOf("#nonsense")],
    [
      ["", ""],
      ["", ""],
      ["", ""],
    ],
  );
});

test("days are said as far as they are known", () => {
  assert.deepEqual(
    ["2023-03-06", "2023-03", "2023", "soon"].map((day) => dayWords(day, "en")),
    ["6 March 2023", "March 2023", "2023", "soon"],
  );
  assert.equal(dayWords("2023-03-06", "zh-CN"), "2023年3月6日");
  assert.match(today(Date.UTC(2024, 0, 15, 12)), /^2024-01-15$/);
});
