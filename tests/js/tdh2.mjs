// Lock B a second time: TDH2 on ristretto255 with @noble/curves, written from docs/formats.md. Not constant-time.

import { createHash } from "node:crypto";
import { ristretto255, ristretto255_hasher } from "../../web/node_modules/@noble/curves/ed25519.js";
import { encode } from "./dagcbor.mjs";

const { Point } = ristretto255;
const G = Point.BASE;
export const ORDER = Point.Fn.ORDER;
const G_BAR = hashToPoint("hce/tdh2/second-generator/1");

export function digest(domain, ...parts) {
  return Uint8Array.from(createHash("sha256").update(encode([domain, ...parts])).digest());
}

export function hashToScalar(domain, ...parts) {
  return littleEndian(wideHash(domain, parts)) % ORDER;
}

export function hashToPoint(domain, ...parts) {
  return ristretto255_hasher.deriveToCurve(wideHash(domain, parts));
}

export function elementFrom(wide) {
  return ristretto255_hasher.deriveToCurve(wide).toBytes();
}

export function baseTimes(scalar) {
  return (scalar === 0n ? Point.ZERO : G.multiply(scalar)).toBytes();
}

export function isPoint(raw) {
  try {
    return !Point.fromBytes(raw).equals(Point.ZERO);
  } catch {
    return false;
  }
}

export function encapsulate(publicKey, label, seed) {
  const h = Point.fromBytes(publicKey);
  const shared = digest("hce/tdh2/secret/1", seed, publicKey, label);
  const r = hashToScalar("hce/tdh2/r/1", seed, publicKey, label);
  const s = hashToScalar("hce/tdh2/s/1", seed, publicKey, label);
  const u = G.multiply(r);
  const uBar = G_BAR.multiply(r);
  const c = xor(shared, mask(h.multiply(r), u));
  const e = capsuleChallenge(h, label, c, u, G.multiply(s), uBar, G_BAR.multiply(s));
  const f = (s + r * e) % ORDER;
  return { capsule: [c, u.toBytes(), uBar.toBytes(), toBytes(e), toBytes(f)], shared };
}

export function verifyCapsule(publicKey, label, [c, u, uBar, e, f]) {
  const [h, uPoint, uBarPoint] = [publicKey, u, uBar].map((raw) => Point.fromBytes(raw));
  const [eScalar, fScalar] = [littleEndian(e), littleEndian(f)];
  const w = G.multiply(fScalar).subtract(uPoint.multiply(eScalar));
  const wBar = G_BAR.multiply(fScalar).subtract(uBarPoint.multiply(eScalar));
  return capsuleChallenge(h, label, c, uPoint, w, uBarPoint, wBar) === eScalar;
}

export function verifyPartial(memberKey, capsule, [index, value, e, f], transcript) {
  const [key, u, valuePoint] = [memberKey, capsule[1], value].map((raw) => Point.fromBytes(raw));
  const [eScalar, fScalar] = [littleEndian(e), littleEndian(f)];
  const w = G.multiply(fScalar).subtract(key.multiply(eScalar));
  const wU = u.multiply(fScalar).subtract(valuePoint.multiply(eScalar));
  const again = hashToScalar("hce/tdh2/partial/1", index, memberKey, encode(capsule), value, w.toBytes(), wU.toBytes(), transcript);
  return again === eScalar;
}

export function combine(capsule, partials, threshold) {
  const chosen = partials.slice(0, threshold);
  const places = chosen.map(([index]) => BigInt(index) + 1n);
  const product = chosen
    .map(([, value], i) => Point.fromBytes(value).multiply(lagrangeAtZero(places[i], places)))
    .reduce((left, right) => left.add(right));
  return xor(capsule[0], mask(product, Point.fromBytes(capsule[1])));
}

function capsuleChallenge(h, label, c, u, w, uBar, wBar) {
  return hashToScalar("hce/tdh2/capsule/1", h.toBytes(), label, c, u.toBytes(), w.toBytes(), uBar.toBytes(), wBar.toBytes());
}

function mask(power, u) {
  return digest("hce/tdh2/mask/1", power.toBytes(), u.toBytes());
}

function lagrangeAtZero(place, places) {
  return places
    .filter((other) => other !== place)
    .reduce((weight, other) => Point.Fn.mul(weight, Point.Fn.div(other, Point.Fn.create(other - place))), 1n);
}

function wideHash(domain, parts) {
  return Uint8Array.from(createHash("sha512").update(encode([domain, ...parts])).digest());
}

function littleEndian(bytes) {
  return BigInt("0x" + Buffer.from(bytes).reverse().toString("hex"));
}

function toBytes(scalar) {
  return Uint8Array.from(Buffer.from(scalar.toString(16).padStart(64, "0"), "hex").reverse());
}

function xor(left, right) {
  return left.map((byte, i) => byte ^ right[i]);
}
