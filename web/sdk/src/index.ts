// HCE for browser and Node. Start at `Network.join`, `Owner` and `CompartmentKeys.open`; README.md has a first program.

export { type Bytes, equal, fromHex, toHex, utf8 } from "./bytes.ts";
export { Failed, HceError, Malformed, PeerFault, Refused, Remote, Unavailable } from "./errors.ts";

export { decode, encode, type Item } from "./codec/dagcbor.ts";
export { cidOfDagCbor, cidOfRaw, isNamed } from "./codec/cid.ts";
export { digest, signingBytes } from "./codec/hashing.ts";
export { decodeAs, encodeAs, type Of, type Shape } from "./codec/shape.ts";

export { SecretBytes } from "./keys/secret.ts";
export { Root } from "./keys/derive.ts";
export { CompartmentKeys } from "./keys/compartments.ts";
export { SigningKey, verify } from "./keys/sign.ts";
export { OpeningKey, seal } from "./keys/seal.ts";
export { keyFromPassphrase, lock, SALT_BYTES, unlock } from "./keys/device.ts";
export { entropyFromWords, type Language, newWords, seedFromWords, wordlist, wordsFromEntropy } from "./keys/words.ts";
export { type Random, systemRandom } from "./keys/random.ts";

export { combine, encapsulate, verifyCapsule, verifyPartial } from "./threshold/tdh2.ts";
export { LightClient, verifyCommit } from "./proofs/light.ts";
export { type MapProof, verifyMapProof } from "./proofs/authmap.ts";
export { type ListProof, listRoot, verifyListProof } from "./proofs/listhash.ts";

export { type FinalHeader, type Genesis, genesisCid, type HealthReceipt, type KeyholderState, quorum } from "./terms/chain.ts";
export {
  type AccessRequest,
  AccessRequestShape,
  cardMessage,
  type ContactCard,
  type GrantBody,
  GrantBodyShape,
  grantMessage,
  type GrantParcel,
  type Mode,
  MODES,
  type Purpose,
  PURPOSES,
  type SignedCard,
  SignedCardShape,
  type SignedReceipt,
  type SignedToken,
  SignedTokenShape,
  tokenMessage,
} from "./terms/grants.ts";
export { actMessage, type OwnReadReceipt, type SignedDeletion } from "./terms/mailbox.ts";
export { grantIdOf, type Kind, orgIdOf, type Payload } from "./terms/payloads.ts";
export type { ContentItem, ContentManifest, Opening } from "./terms/records.ts";
export {
  type CompartmentState,
  type CredentialState,
  type GrantState,
  HealthReader,
  type OrganisationState,
  type RecordState,
  stateKey,
} from "./terms/states.ts";
export {
  addSignature,
  type AnyBody,
  type Body,
  type HealthTx,
  makeBody,
  parseBody,
  parseTx,
  type Role,
  signTx,
} from "./terms/transactions.ts";

export { explain, type Explained } from "./human/explain.ts";
export { type NameOf, sentence } from "./human/sentence.ts";

export type { AnchorReport } from "./vault/anchors.ts";
export type { AuditReport, Finding, FindingCode, Log, Read } from "./vault/auditing.ts";
export { verifyCard, verifyToken } from "./vault/cards.ts";
export { type MadeGrant, openParcel } from "./vault/granting.ts";
export { AuthoringSession, type Authorship, type Batch, type Content, makeBatch } from "./vault/sealing.ts";

export { type Claim, claimMessage, type SignedClaim } from "./terms/claims.ts";
export { handoverMessage, type SignedHandover } from "./terms/handovers.ts";

export { cardKey } from "./vault/claiming.ts";
export { claimAccount, type ClaimDesk, finishClaim, prepareClaim } from "./net/claiming.ts";
export { findOwner, type FoundOwner, keepHandover } from "./net/handovers.ts";
export { prepareRotation, rotateAccount, type Rotation } from "./net/rotating.ts";
export { type JoinOptions, Network } from "./net/network.ts";
export { Mail } from "./net/mail.ts";
export { NodeClient } from "./net/node.ts";
export { type KnownGrant, Owner, type OwnRecords, type Waiting } from "./net/owner.ts";
export { Reader, type ReaderKeys, type ReadResult } from "./net/reader.ts";
export type { ListedRecord, Listing, OpenedRecord, Refusal } from "./net/reading.ts";
