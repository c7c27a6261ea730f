// The card with which somebody takes over the account a hospital kept for them (`src/hce/service/vault/claiming.py`).
//
//     code        18 characters of secret (90 bits) and 2 of checksum, in fours of five: 7Q2MK-XJ0A9-TTB4H-C5WE8
//     card key    Ed25519 of deriveSeed(the 18 characters, "claim-card")
//
// The code never leaves this device: a claim is signed with the key it makes. Characters are Crockford's base32: O is read as 0, I and L
// as 1, and case, spaces and hyphens do not matter.

import { type Bytes, utf8 } from "../bytes.ts";
import { digest } from "../codec/hashing.ts";
import { Malformed } from "../errors.ts";
import type { CompartmentKeys } from "../keys/compartments.ts";
import { deriveSeed } from "../keys/derive.ts";
import { SecretBytes } from "../keys/secret.ts";
import { SigningKey } from "../keys/sign.ts";
import { type Claim, claimMessage, type SignedClaim } from "../terms/claims.ts";

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const SECRET_CHARS = 18;
const CHECK_CHARS = 2;

/** The key of a card, from the code as somebody typed it. `claim.code_unreadable` when it is mistyped or cut. */
export async function cardKey(code: string): Promise<SigningKey> {
  const plain = code.toUpperCase().replace(/[\s-]/g, "").replace(/O/g, "0").replace(/[IL]/g, "1");
  const secret = plain.slice(0, SECRET_CHARS);
  const known = secret.length === SECRET_CHARS && [...plain].every((character) => ALPHABET.includes(character));
  if (!known || plain.slice(SECRET_CHARS) !== checkOf(secret)) throw new Malformed("", {}, "claim.code_unreadable");
  return SigningKey.fromSeed(await deriveSeed(new SecretBytes(utf8(secret)), "claim-card"));
}

/** Asks an organisation to put these keys in the place of its own: `claimMessage(signed.claim)` is what was signed. */
export async function makeClaim(keys: CompartmentKeys, card: SigningKey, chain: Bytes, orgId: Bytes): Promise<SignedClaim> {
  const claim: Claim = {
    chain,
    orgId,
    cardKey: card.public,
    ownerKey: keys.owner.public,
    recoveryDigest: keys.recoveryDigest,
    rootKey: (await keys.root()).public,
  };
  const message = claimMessage(claim);
  return { claim, cardSignature: await card.sign(message), ownerSignature: await keys.owner.sign(message) };
}

function checkOf(secret: string): string {
  const [high, low] = digest("hce/claim-code/1", secret);
  const number = (high! << 8) | low!;
  return Array.from({ length: CHECK_CHARS }, (_, place) => ALPHABET[(number >> (5 * place)) & 31]).join("");
}
