// The error tree of the server, by who is at fault. `code` is the server's code and the key of the words people read
// (`src/hce/app/words/errors.*.json`); `fields` are for developers and never hold secrets.

export type Fields = Readonly<Record<string, string | number | boolean>>;

export abstract class HceError extends Error {
  /** Stable: the i18n key. */
  readonly code: string;
  readonly detail: string;
  readonly fields: Fields;

  constructor(code: string, detail = "", fields: Fields = {}) {
    const shown = Object.entries(fields).map(([name, value]) => `${name}=${value}`);
    super([code, detail, shown.join(", ")].filter(Boolean).join(": "));
    this.name = new.target.name;
    this.code = code;
    this.detail = detail;
    this.fields = fields;
  }
}

/** What was asked for, or what was handed over, is not allowed by the rules. Nothing was changed. */
export class Refused extends HceError {}

/** Bytes that do not follow `docs/formats.md`. */
export class Malformed extends Refused {
  constructor(detail = "", fields: Fields = {}, code = "malformed") {
    super(code, detail, fields);
  }
}

/** The answer exists but cannot be had now. Trying again later is right. */
export class Unavailable extends HceError {}

/** Another machine sent something no honest one would send. */
export class PeerFault extends HceError {}

/** A node refused; `code` is its code, `status` its HTTP status. */
export class Remote extends Refused {
  readonly status: number;

  constructor(code: string, status: number, detail = "") {
    super(code, detail);
    this.status = status;
  }
}

/** A transaction became final and failed; `code` is the contract's code. */
export class Failed extends Refused {}

/** The error itself when it has a code; anything else is a mistake of this program and goes on upwards. */
export function known(error: unknown): HceError {
  if (error instanceof HceError) return error;
  throw error;
}
