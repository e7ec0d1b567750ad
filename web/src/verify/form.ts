// The forms of documents: what each member must be, and whether others may stand beside them. The
// types of this program say nothing about what somebody else wrote.

/** Throws unless the value at this place (a JSON pointer) has the form. */
export type Form = (value: unknown, at: string) => void;

type Members = Record<string, Form>;

const U32 = (1n << 32n) - 1n;
const U64 = (1n << 64n) - 1n;
const I128 = 1n << 127n;

function demand(holds: boolean, at: string, what: string): void {
  if (!holds) throw new Error(`${at === "" ? "the document" : at} ${what}`);
}

/** A whole number from 0 to `most`, which `parse` reads from its digits. */
export const whole =
  (most: bigint): Form =>
  (value, at) => {
    const isWhole = typeof value === "bigint" || Number.isSafeInteger(value);
    const isWithin = isWhole && BigInt(value as number) >= 0n && BigInt(value as number) <= most;
    demand(isWithin, at, "is no whole number that is not negative and fits");
  };

export const u32 = whole(U32);
export const u64 = whole(U64);

export const anything: Form = (value, at) => demand(value !== undefined, at, "is missing");

export const bool: Form = (value, at) => demand(typeof value === "boolean", at, "is not a boolean");

/** A text of so many characters (code points). */
export const text =
  (least = 0, most = Number.POSITIVE_INFINITY): Form =>
  (value, at) => {
    demand(typeof value === "string", at, "is not a text");
    const length = [...(value as string)].length;
    demand(length >= least, at, "is empty");
    demand(length <= most, at, `is longer than ${most} characters`);
  };

/** A text of at most so many bytes, and at least one. */
export const bytes =
  (most: number): Form =>
  (value, at) => {
    demand(typeof value === "string", at, "is not a text");
    const { length } = new TextEncoder().encode(value as string);
    demand(length >= 1 && length <= most, at, `needs 1 to ${most} bytes`);
  };

export const matching =
  (pattern: RegExp, what: string): Form =>
  (value, at) =>
    demand(typeof value === "string" && pattern.test(value), at, `is not ${what}`);

export const hex64 = matching(/^[0-9a-f]{64}$/, "64 lower hex digits");
export const hex32 = matching(/^[0-9a-f]{32}$/, "32 lower hex digits");

export const oneOf =
  (...texts: string[]): Form =>
  (value, at) =>
    demand(texts.includes(value as string), at, `is not one of ${texts.join(", ")}`);

/** An amount: a text of decimal digits that fits 128 bits. */
export const amount: Form = (value, at) => {
  const isDecimal = typeof value === "string" && /^[+-]?\d+$/.test(value);
  const number = isDecimal ? BigInt(value) : I128;
  demand(number >= -I128 && number < I128, at, "is no decimal text that fits 128 bits");
};

const TIME = /^(\d{4})-(\d\d)-(\d\d)T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

/** A time by RFC 3339. */
export const time: Form = (value, at) => {
  const [, year, month, day] = (typeof value === "string" && TIME.exec(value)) || [];
  // Some readers of dates take the 30th of February for a day in March.
  const isDay = Number(day) <= new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate();
  const isTime = isDay && Number.isFinite(Date.parse(value as string));
  demand(isTime, at, "is no time as RFC 3339 writes it");
};

/** A time as documents with one spelling write it: no zero ends its fraction, and UTC is `Z`. */
export const exactTime: Form = (value, at) => {
  time(value, at);
  const isOther = /\.(?:\d*0|\d{10,})(?:Z|[+-])|[+-]00:00$/.test(value as string);
  demand(!isOther, at, "is no time in its one spelling");
};

export const list =
  (form: Form, most = Number.POSITIVE_INFINITY): Form =>
  (value, at) => {
    demand(Array.isArray(value), at, "is not an array");
    const items = value as unknown[];
    demand(items.length <= most, at, `has more than ${most} entries`);
    for (const [index, item] of items.entries()) form(item, `${at}/${index}`);
  };

/** An object whose members have any names, and all this form. */
export const record =
  (form: Form): Form =>
  (value, at) => {
    for (const [name, member] of Object.entries(object(value, at))) form(member, `${at}/${name}`);
  };

/** An object with these members, of which the second may be absent, and with no other. */
export const closed =
  (needed: Members, optional: Members = {}): Form =>
  (value, at) => {
    const members = object(value, at);
    for (const name of Object.keys(members)) {
      const isKnown = Object.hasOwn(needed, name) || Object.hasOwn(optional, name);
      demand(isKnown, at, `has the unknown member ${JSON.stringify(name)}`);
    }
    for (const [name, form] of Object.entries(needed)) form(own(members, name), `${at}/${name}`);
    for (const [name, form] of Object.entries(optional)) {
      if (Object.hasOwn(members, name)) form(members[name], `${at}/${name}`);
    }
  };

/** As `closed`, but other members are ignored, and `null` is an absent member. */
export const open =
  (needed: Members, optional: Members = {}): Form =>
  (value, at) => {
    const members = object(value, at);
    for (const [name, form] of Object.entries(needed)) form(own(members, name), `${at}/${name}`);
    for (const [name, form] of Object.entries(optional)) {
      const member = own(members, name);
      if (member !== undefined && member !== null) form(member, `${at}/${name}`);
    }
  };

/** The form, or nothing at all; but not `null`, which some lists may not be. */
export const orAbsent =
  (form: Form): Form =>
  (value, at) => {
    if (value !== undefined) form(value, at);
  };

const own = (members: Record<string, unknown>, name: string): unknown =>
  Object.hasOwn(members, name) ? members[name] : undefined;

function object(value: unknown, at: string): Record<string, unknown> {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  demand(isObject, at, "is not an object");
  return value as Record<string, unknown>;
}
