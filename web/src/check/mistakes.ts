// What a module's schema does not take.

import { Validator } from "@cfworker/json-schema";

export type Schema = Record<string, unknown>;

/** Each mistake with its place; none also where the schema cannot be read: the gateway judges then. */
export function mistakesOf(schema: Schema, value: unknown): string[] {
  try {
    const { valid, errors } = new Validator(schema, "2020-12", false).validate(value);
    if (valid) return [];
    const leaves = errors.filter(
      ({ keyword }) => !["properties", "items", "$ref"].includes(keyword),
    );
    return [
      ...new Set(
        leaves.map(({ instanceLocation, error }) =>
          [instanceLocation.replace(/^#\/?/, ""), error].filter(Boolean).join(": "),
        ),
      ),
    ];
  } catch {
    return [];
  }
}
