// The contact card and write token an owner signs, and how an author checks them.

import { type Bytes, equal, toHex } from "../bytes.ts";
import { Refused } from "../errors.ts";
import { type CompartmentKeys, ownerDigest } from "../keys/compartments.ts";
import { verify } from "../keys/sign.ts";
import {
  CARD_LIFE_MS,
  cardMessage,
  CLOCK_SKEW_MS,
  type ContactCard,
  feedAddress,
  type SignedCard,
  type SignedToken,
  tokenMessage,
  type WriteToken,
} from "../terms/grants.ts";

/** A card valid from now for 30 days; `version` is the compartment's version on chain. */
export async function makeCard(
  keys: CompartmentKeys,
  chain: Bytes,
  version: number,
  readingEpoch: number,
  nowMs: number,
): Promise<SignedCard> {
  const card: ContactCard = {
    chain,
    compartmentId: keys.compartmentId(chain),
    version,
    ownerKey: keys.owner.public,
    readingEpoch,
    readingKey: (await keys.reading(readingEpoch)).public,
    rootKey: (await keys.root()).public,
    feedReadKey: (await keys.feed(readingEpoch)).public,
    issuedMs: nowMs,
    expiresMs: nowMs + CARD_LIFE_MS,
  };
  return { card, signature: await keys.owner.sign(cardMessage(card)) };
}

/** The card, when its owner signed it and it is alive; `card.invalid`. `expectedOwnerDigest` is the one on the final chain. */
export function verifyCard(signed: SignedCard, chain: Bytes, nowMs: number, expectedOwnerDigest: Bytes): ContactCard {
  const { card, signature } = signed;
  const refuse = (detail: string): Refused => new Refused("card.invalid", detail, { compartmentId: toHex(card.compartmentId) });
  if (!equal(card.chain, chain)) throw refuse("another chain");
  if (!equal(ownerDigest(card.ownerKey), expectedOwnerDigest)) throw refuse("not the compartment's owner key");
  if (!verify(card.ownerKey, cardMessage(card), signature)) throw refuse("signature");
  if (card.expiresMs - card.issuedMs > CARD_LIFE_MS) throw refuse("lives too long");
  if (!(card.issuedMs - CLOCK_SKEW_MS <= nowMs && nowMs < card.expiresMs)) throw refuse("outside its dates");
  return card;
}

/** Lets an organisation write to the feed of one epoch; the owner revokes it by its serial. */
export async function makeToken(
  keys: CompartmentKeys,
  chain: Bytes,
  orgId: Bytes,
  readingEpoch: number,
  serial: number,
  expiresMs: number,
): Promise<SignedToken> {
  const feedReadKey = (await keys.feed(readingEpoch)).public;
  const feed = feedAddress(feedReadKey, keys.owner.public);
  const token: WriteToken = { compartmentId: keys.compartmentId(chain), orgId, feed, serial, expiresMs };
  return { token, ownerKey: keys.owner.public, feedReadKey, signature: await keys.owner.sign(tokenMessage(chain, token)) };
}

/** The token, when the card's owner gave it to this organisation for the card's feed; `token.invalid`. */
export function verifyToken(signed: SignedToken, chain: Bytes, orgId: Bytes, card: ContactCard, nowMs: number): WriteToken {
  const { token, ownerKey, feedReadKey, signature } = signed;
  const refuse = (detail: string): Refused => new Refused("token.invalid", detail, { serial: token.serial });
  const cards = equal(ownerKey, card.ownerKey) && equal(feedReadKey, card.feedReadKey);
  if (!cards) throw refuse("another owner or feed than the card's");
  if (!equal(token.feed, feedAddress(feedReadKey, ownerKey))) throw refuse("address does not follow from its keys");
  if (!equal(token.compartmentId, card.compartmentId)) throw refuse("another compartment than the card's");
  if (!equal(token.orgId, orgId)) throw refuse("another organisation");
  if (nowMs >= token.expiresMs) throw refuse("expired");
  if (!verify(ownerKey, tokenMessage(chain, token), signature)) throw refuse("signature");
  return token;
}
