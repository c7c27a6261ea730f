// A secret that only this device's passkey gives (WebAuthn Level 3, extension `prf`): fingerprint, face or screen lock, no server.

import { type Bytes, Refused, SecretBytes, systemRandom } from "../../sdk/src/index.ts";

const CHALLENGE_BYTES = 32;
const USER_BYTES = 16;
const TIMEOUT_MS = 120_000;
/** Ed25519, ES256 and RS256 (RFC 9053): what authenticators have. The signature is not used. */
const ALGORITHMS = [-8, -7, -257];

/** Whether it is worth offering: there is a fingerprint reader, a face camera or a screen lock the page may ask. */
export async function mayHavePasskey(): Promise<boolean> {
  return "PublicKeyCredential" in globalThis && (await PublicKeyCredential.isUserVerifyingPlatformAuthenticatorAvailable());
}

/** A fresh passkey and its secret for `salt`; null when this one has none to give. `passkey.refused` when the person said no. */
export async function makePasskey(salt: Bytes, label: string): Promise<{ credential: Bytes; key: SecretBytes } | null> {
  const made = await asked(() =>
    navigator.credentials.create({
      publicKey: {
        rp: { name: "HCE", id: location.hostname },
        user: { id: systemRandom(USER_BYTES), name: label, displayName: label },
        challenge: systemRandom(CHALLENGE_BYTES),
        pubKeyCredParams: ALGORITHMS.map((alg) => ({ type: "public-key", alg })),
        authenticatorSelection: { residentKey: "preferred", userVerification: "required" },
        timeout: TIMEOUT_MS,
        extensions: { prf: { eval: { first: salt } } },
      },
    }),
  );
  const { prf } = made.getClientExtensionResults();
  if (prf?.enabled !== true && prf?.results === undefined) return null;
  const credential = new Uint8Array(made.rawId);
  return { credential, key: secretOf(made) ?? (await askPasskey(credential, salt)) };
}

/** The same secret again. `passkey.refused` when the person said no or the passkey is gone. */
export async function askPasskey(credential: Bytes, salt: Bytes): Promise<SecretBytes> {
  const given = await asked(() =>
    navigator.credentials.get({
      publicKey: {
        challenge: systemRandom(CHALLENGE_BYTES),
        rpId: location.hostname,
        allowCredentials: [{ type: "public-key", id: credential }],
        userVerification: "required",
        timeout: TIMEOUT_MS,
        extensions: { prf: { eval: { first: salt } } },
      },
    }),
  );
  const secret = secretOf(given);
  if (secret === null) throw new Refused("passkey.refused", "no secret");
  return secret;
}

async function asked(ask: () => Promise<Credential | null>): Promise<PublicKeyCredential> {
  try {
    const given = await ask();
    if (given instanceof PublicKeyCredential) return given;
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
  throw new Refused("passkey.refused");
}

function secretOf(given: PublicKeyCredential): SecretBytes | null {
  const first = given.getClientExtensionResults().prf?.results?.first;
  if (first === undefined) return null;
  const raw = first instanceof ArrayBuffer ? new Uint8Array(first) : new Uint8Array(first.buffer as ArrayBuffer);
  return new SecretBytes(raw);
}
