// A form from a JSON Schema (2020-12): objects, texts, numbers, booleans, choices and lists. What
// it cannot draw, such as alternatives, it lets people write as JSON.

import { useId, useState } from "react";

import { visible } from "@/errors";
import { texts } from "@/texts";
import { Button } from "@/ui";

export interface Schema {
  type?: string | string[];
  title?: string;
  description?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  examples?: unknown[];
  format?: string;
  minimum?: number;
  maximum?: number;
  maxLength?: number;
  contentMediaType?: string;
}

const kindOf = (schema: Schema): string => {
  const type = Array.isArray(schema.type)
    ? schema.type.find((name) => name !== "null")
    : schema.type;
  if (schema.enum) return "enum";
  if (type === "object" && schema.properties) return "object";
  if (type === "array" && schema.items) return "array";
  return type ?? (schema.properties ? "object" : "json");
};

/** A first value: what the schema gives as default or example, else what is empty. */
export function initial(schema: Schema): unknown {
  if (schema.const !== undefined) return schema.const;
  if (schema.default !== undefined) return schema.default;
  if (schema.examples?.[0] !== undefined) return schema.examples[0];
  switch (kindOf(schema)) {
    case "object": {
      const required = new Set(schema.required);
      const members = Object.entries(schema.properties ?? {}).filter(([name]) =>
        required.has(name),
      );
      return Object.fromEntries(members.map(([name, member]) => [name, initial(member)]));
    }
    case "array":
      return [];
    case "enum":
      return schema.enum?.[0];
    case "boolean":
      return false;
    case "number":
    case "integer":
      return schema.minimum ?? 0;
    case "string":
      return "";
    default:
      return {};
  }
}

interface Props {
  schema: Schema;
  value: unknown;
  onChange: (value: unknown) => void;
  name?: string;
  isRequired?: boolean;
}

export function SchemaForm({ schema, value, onChange, name = "", isRequired = true }: Props) {
  const kind = kindOf(schema);
  if (kind === "object") return <ObjectFields {...{ schema, value, onChange, name }} />;
  if (kind === "array") return <ListFields {...{ schema, value, onChange, name }} />;
  return <Leaf {...{ schema, value, onChange, name, isRequired }} kind={kind} />;
}

function ObjectFields({ schema, value, onChange, name = "" }: Props) {
  const members = (value ?? {}) as Record<string, unknown>;
  const required = new Set(schema.required);
  const fields = Object.entries(schema.properties ?? {}).map(([key, member]) => (
    <SchemaForm
      key={key}
      name={key}
      schema={member}
      isRequired={required.has(key)}
      value={members[key]}
      onChange={(next) => {
        const { [key]: _, ...others } = members;
        // A member that may be absent is left out when it is empty.
        const isAbsent = next === undefined || (next === "" && !required.has(key));
        onChange(isAbsent ? others : { ...members, [key]: next });
      }}
    />
  ));
  if (name === "") return <div className="stack">{fields}</div>;
  return (
    <fieldset className="stack field">
      <legend>{visible(schema.title ?? name)}</legend>
      {fields}
    </fieldset>
  );
}

function ListFields({ schema, value, onChange, name = "" }: Props) {
  const items = Array.isArray(value) ? value : [];
  return (
    <fieldset className="stack field">
      <legend>{visible(schema.title ?? name)}</legend>
      {items.map((item, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: an item is its place in the list
        <div className="row" key={index}>
          <SchemaForm
            schema={schema.items ?? {}}
            name={`${schema.title ?? name} ${index + 1}`}
            value={item}
            onChange={(next) => onChange(items.map((old, at) => (at === index ? next : old)))}
          />
          <Button small onClick={() => onChange(items.filter((_, at) => at !== index))}>
            {texts.build.removeEntry(visible(`${schema.title ?? name} ${index + 1}`))}
          </Button>
        </div>
      ))}
      <Button small onClick={() => onChange([...items, initial(schema.items ?? {})])}>
        {texts.build.addEntry(visible(schema.title ?? name))}
      </Button>
    </fieldset>
  );
}

function Leaf({ schema, value, onChange, name = "", isRequired, kind }: Props & { kind: string }) {
  const id = useId();
  const label = visible(schema.title ?? name);
  return (
    <div className="field">
      <label htmlFor={id}>
        {label} {isRequired && <span className="help">({texts.build.required})</span>}
      </label>
      <Control {...{ id, schema, value, onChange, kind }} />
      {schema.description && <p className="help">{visible(schema.description)}</p>}
    </div>
  );
}

interface ControlProps {
  id: string;
  schema: Schema;
  value: unknown;
  onChange: (value: unknown) => void;
  kind: string;
}

function Control({ id, schema, value, onChange, kind }: ControlProps) {
  if (kind === "enum") {
    const options = schema.enum ?? [];
    return (
      <select
        id={id}
        value={options.indexOf(value)}
        onChange={(event) => onChange(options[Number(event.target.value)])}
      >
        {/* Nothing is chosen: shown as that, rather than as the first choice. */}
        {options.indexOf(value) < 0 && <option value={-1}>{texts.build.notChosen}</option>}
        {options.map((option, index) => (
          <option key={String(option)} value={index}>
            {visible(String(option))}
          </option>
        ))}
      </select>
    );
  }
  if (kind === "boolean") {
    return (
      <input
        id={id}
        type="checkbox"
        checked={value === true}
        onChange={(event) => onChange(event.target.checked)}
      />
    );
  }
  if (kind === "number" || kind === "integer") {
    return (
      <input
        id={id}
        inputMode="decimal"
        value={value === undefined ? "" : String(value)}
        onChange={(event) => onChange(numberOf(event.target.value))}
      />
    );
  }
  if (kind === "string") {
    const text = typeof value === "string" ? value : "";
    const isLong =
      text.includes("\n") || (schema.maxLength ?? 1_000) > 200 || schema.contentMediaType;
    const change = (event: { target: { value: string } }) => onChange(event.target.value);
    return isLong ? (
      <textarea id={id} value={text} spellCheck={false} rows={4} onChange={change} />
    ) : (
      <input id={id} value={text} onChange={change} />
    );
  }
  return <JsonControl id={id} value={value} onChange={onChange} />;
}

/** A number, or the text as it is: the schema then says what is wrong with it. */
function numberOf(text: string): unknown {
  if (text.trim() === "") return undefined;
  const number = Number(text);
  return Number.isFinite(number) ? number : text;
}

interface JsonControlProps {
  id: string;
  value: unknown;
  onChange: (value: unknown) => void;
}

function JsonControl({ id, value, onChange }: JsonControlProps) {
  const [text, setText] = useState(() =>
    value === undefined ? "" : JSON.stringify(value, null, 2),
  );
  return (
    <textarea
      id={id}
      value={text}
      spellCheck={false}
      onChange={(event) => {
        setText(event.target.value);
        try {
          onChange(event.target.value === "" ? undefined : JSON.parse(event.target.value));
        } catch {
          onChange(event.target.value);
        }
      }}
    />
  );
}
