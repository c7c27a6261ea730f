// One node over HTTP: bytes out, structs in. Nothing is believed here; `network.ts` verifies.
//
// Whatever a node answers, the worst that comes of it is a named error: `Remote` when it refused, `node.unreachable` when it did not
// answer, `node.bad_answer` (its fault) when the answer is not what was asked for. Answers are read piece by piece up to a bound.

import { type Bytes, concat, toHex } from "../bytes.ts";
import { encode, type Item } from "../codec/dagcbor.ts";
import { anyBytes, bytes, decodeAs, encodeAs, list, nullable, type Shape } from "../codec/shape.ts";
import { known, PeerFault, Remote, Unavailable } from "../errors.ts";
import {
  type FinalHeader,
  FinalHeaderShape,
  type Genesis,
  GenesisShape,
  type StateProof,
  StateProofShape,
  type TxProof,
  TxProofShape,
} from "../terms/chain.ts";
import {
  type AnchorProof,
  AnchorProofShape,
  type ReleaseRequest,
  ReleaseRequestShape,
  type SignedCard,
  SignedCardShape,
} from "../terms/grants.ts";
import { type SignedHandover, SignedHandoverShape } from "../terms/handovers.ts";
import { type Identity, IdentityShape } from "../terms/mailbox.ts";

const DAG_CBOR_TYPE = "application/vnd.ipld.dag-cbor";
const REQUEST_TIMEOUT_MS = 30_000;
/** Of an answer; what comes after is not read. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** How requests are made; what is left out is the platform's. */
export interface NodeOptions {
  readonly fetch?: Fetch;
  readonly maxAnswerBytes?: number;
  readonly timeoutMs?: number;
  /** Ends requests that nobody waits for any more. */
  readonly signal?: AbortSignal;
}

/** A super node's public API. */
export class NodeClient {
  readonly url: string;
  readonly #options: NodeOptions;

  constructor(url: string, options: NodeOptions = {}) {
    this.url = url.replace(/\/+$/, "");
    this.#options = options;
  }

  /** The same node with other options for some requests. */
  with(options: NodeOptions): NodeClient {
    return new NodeClient(this.url, { ...this.#options, ...options });
  }

  /** Which node it is, signed for this nonce. */
  identity(nonce: Bytes): Promise<Identity> {
    return this.#get(IdentityShape, `/v1/identity?nonce=${toHex(nonce)}`);
  }

  genesis(): Promise<Genesis> {
    return this.#get(GenesisShape, "/v1/genesis");
  }

  /** The newest final header, or the one of a height. */
  final(height?: number): Promise<FinalHeader> {
    return this.#get(FinalHeaderShape, height === undefined ? "/v1/final" : `/v1/final/${height}`);
  }

  /** Into the pool. Throws `Remote` with the ledger's code when refused at the door. */
  async submitHealth(raw: Bytes): Promise<void> {
    await this.#bytes("POST", "/v1/health-tx", raw);
  }

  /** Waits until final, at most `waitMs`; `Remote` with code not_found otherwise. */
  healthTx(txId: Bytes, waitMs: number): Promise<TxProof> {
    return this.#get(TxProofShape, `/v1/health-tx/${toHex(txId)}?wait_ms=${Math.round(waitMs)}`);
  }

  /** Values of these keys after one final block. */
  healthState(keys: readonly Bytes[]): Promise<StateProof> {
    return this.#post(StateProofShape, "/v1/health-state", keys);
  }

  /** Ids of the access entries under a grant from ordinal `start`, one page; the grant's running hash proves all. */
  entries(grantId: Bytes, start = 0): Promise<readonly Bytes[]> {
    return this.#get(list(bytes(32)), `/v1/grants/${toHex(grantId)}/entries?start=${start}`);
  }

  async publishCard(card: SignedCard): Promise<void> {
    await this.mailbox("card", SignedCardShape, card);
  }

  /** The card last published for a feed; `Remote` with status 404 when there is none. */
  card(feed: Bytes): Promise<SignedCard> {
    return this.#get(SignedCardShape, `/v1/cards/${toHex(feed)}`);
  }

  /** Keeps an owner's earlier keys at the address of the owner's log. */
  async keepHandover(handover: SignedHandover): Promise<void> {
    await this.mailbox("handover", SignedHandoverShape, handover);
  }

  /** The earlier keys kept at a log address; `Remote` with status 404 when there are none. */
  handover(log: Bytes): Promise<SignedHandover> {
    return this.#get(SignedHandoverShape, `/v1/handovers/${toHex(log)}`);
  }

  blob(cid: Bytes): Promise<Bytes> {
    return this.#bytes("GET", `/v1/blobs/${toHex(cid)}`);
  }

  /** The node's shards of these names, in order, null for what it lacks; the list may end early. */
  shards(cids: readonly Bytes[]): Promise<readonly (Bytes | null)[]> {
    return this.#post(list(nullable(anyBytes)), "/v1/shards", cids);
  }

  /** One mailbox operation (`docs/formats.md`, section Mailbox); the answer's bytes. */
  mailbox<T>(operation: "read" | "act" | "post" | "card" | "handover", shape: Shape<T>, request: T): Promise<Bytes> {
    return this.#bytes("POST", `/v1/mailbox/${operation}`, encodeAs(shape, request));
  }

  /** A batch signed by its organisation, for this node; bytes of the AvailabilityReceipt. */
  intake(batch: Bytes): Promise<Bytes> {
    return this.#bytes("POST", "/v1/intake", batch);
  }

  /** A sealed ReleaseReply. */
  release(request: ReleaseRequest): Promise<Bytes> {
    return this.#bytes("POST", "/v1/release", encodeAs(ReleaseRequestShape, request));
  }

  /** Where these receipts stand in the node's lists, in order; null for what it does not know. */
  async anchors(leaves: readonly Bytes[]): Promise<readonly (AnchorProof | null)[]> {
    const found = await this.#post(list(nullable(AnchorProofShape)), "/v1/anchors", leaves);
    if (found.length !== leaves.length) throw this.#bad("not one proof for each receipt");
    return found;
  }

  /** Bytes of an answer as a struct; `node.bad_answer` when they are none. */
  decoded<T>(shape: Shape<T>, raw: Bytes): T {
    try {
      return decodeAs(shape, raw, this.#maxAnswerBytes);
    } catch (error) {
      throw this.#bad(known(error).message);
    }
  }

  async #get<T>(shape: Shape<T>, path: string): Promise<T> {
    return this.decoded(shape, await this.#bytes("GET", path));
  }

  async #post<T>(shape: Shape<T>, path: string, body: Item): Promise<T> {
    return this.decoded(shape, await this.#bytes("POST", path, encode(body)));
  }

  async #bytes(method: "GET" | "POST", path: string, body?: Bytes): Promise<Bytes> {
    const timeout = AbortSignal.timeout(this.#options.timeoutMs ?? REQUEST_TIMEOUT_MS);
    const { signal } = this.#options;
    const init: RequestInit = {
      method,
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
      referrerPolicy: "no-referrer",
      ...(body === undefined ? {} : { body, headers: { "content-type": DAG_CBOR_TYPE } }),
    };
    const { status, raw } = await this.#exchange(this.url + path, init);
    if (status >= 400) throw this.#refusal(status, raw);
    return raw;
  }

  /** `fetch` throws TypeError for a network that fails and DOMException for a signal; both mean that there is no answer. */
  async #exchange(url: string, init: RequestInit): Promise<{ status: number; raw: Bytes }> {
    try {
      const answer = await (this.#options.fetch ?? fetch)(url, init);
      return { status: answer.status, raw: await this.#read(answer) };
    } catch (error) {
      if (error instanceof TypeError || error instanceof DOMException) {
        throw new Unavailable("node.unreachable", error.name === "TypeError" ? "" : error.name, { url: this.url });
      }
      throw error;
    }
  }

  async #read(answer: Response): Promise<Bytes> {
    if (answer.body === null) return new Uint8Array(0);
    const reader = answer.body.getReader();
    const pieces: Uint8Array[] = [];
    let size = 0;
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      size += piece.value.length;
      if (size > this.#maxAnswerBytes) {
        await reader.cancel();
        throw this.#bad("too large");
      }
      pieces.push(piece.value);
    }
    return concat(...pieces);
  }

  /** What a problem document (RFC 9457) says. */
  #refusal(status: number, raw: Bytes): Remote | PeerFault {
    try {
      const said: unknown = JSON.parse(new TextDecoder().decode(raw));
      if (typeof said === "object" && said !== null && "code" in said && typeof said.code === "string") {
        const detail = "detail" in said && typeof said.detail === "string" ? said.detail : "";
        return new Remote(said.code, status, detail);
      }
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
    return this.#bad(`no problem document (${status})`);
  }

  get #maxAnswerBytes(): number {
    return this.#options.maxAnswerBytes ?? MAX_ANSWER_BYTES;
  }

  #bad(detail: string): PeerFault {
    return new PeerFault("node.bad_answer", detail, { url: this.url });
  }
}
