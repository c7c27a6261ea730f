// A clinician's tool that reads under a grant: `tests/service/sdk/test_sdk_typescript_reader.py` hands it parcel and keys.

import { fromHex, toHex } from "../../src/bytes.ts";
import { decodeAs } from "../../src/codec/shape.ts";
import { SecretBytes } from "../../src/keys/secret.ts";
import { SigningKey } from "../../src/keys/sign.ts";
import { Network } from "../../src/net/network.ts";
import { Reader } from "../../src/net/reader.ts";
import { GrantParcelShape } from "../../src/terms/grants.ts";
import { answerLines } from "./lines.ts";

type Given = Readonly<Record<string, string>>;

/** Everything that is granted, under one access entry. */
async function read(given: Given): Promise<object> {
  const network = await Network.join([given["url"]!], { trust: fromHex(given["genesis"]!) });
  const reader = new Reader(network, decodeAs(GrantParcelShape, fromHex(given["parcel"]!)), {
    readerKey: await keyOf(given["reader_seed"]!),
    credentialId: fromHex(given["credential_id"]!),
    credentialKey: await keyOf(given["credential_seed"]!),
    payer: fromHex(given["org_id"]!),
    payerKey: await keyOf(given["org_seed"]!),
  });
  const listing = await reader.listing();
  const names = [...listing.values()].map(([first]) => first!.recordId);
  const { opened, refused, lyingNodes } = await reader.read(listing, names, "ward round");
  return {
    records: Object.fromEntries(
      opened.map(({ recordId, manifest }) => [toHex(recordId), manifest.items.map((item) => toHex(item.content))]),
    ),
    refused: [...refused.values()].map((error) => error.code),
    lying: lyingNodes,
  };
}

function keyOf(seed: string): Promise<SigningKey> {
  return SigningKey.fromSeed(new SecretBytes(fromHex(seed)));
}

await answerLines<Given>({ read });
