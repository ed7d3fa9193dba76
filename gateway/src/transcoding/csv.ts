import { type DescField, type DescMessage, type JsonValue, ScalarType } from "@bufbuild/protobuf";

/** A response as a table. */
export interface Table {
  readonly text: string;
  /** `next_cursor` of the response; empty: there is none. */
  readonly nextCursor: string;
}

/** The beginnings of cells that spreadsheets take for formulas. */
const formula = /^[=+\-@\t\r]/;

/**
 * The text of a cell. Texts come from users and models: an apostrophe keeps a spreadsheet from running one as a
 * formula.
 */
function cellOf(value: JsonValue | undefined): string {
  if (typeof value !== "string") return value === null || value === undefined ? "" : JSON.stringify(value);
  const text = formula.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const isDeprecated = (field: DescField) => field.proto.options?.deprecated === true;

/** The fields of a table's rows. Throws when the annotation does not name rows of plain values. */
function columnsOf(output: DescMessage, name: string): string[] {
  const rows = output.fields.find((field) => field.name === name);
  if (rows?.fieldKind !== "list" || rows.listKind !== "message") {
    throw new Error(`${output.typeName} has no list of messages ${name}, which its annotation names.`);
  }
  const columns = rows.message.fields.filter((field) => !isDeprecated(field));
  for (const field of columns) {
    if (field.fieldKind !== "scalar" || field.scalar === ScalarType.BYTES) {
      throw new Error(`${rows.message.typeName}.${field.name} does not fit in the cell of a table.`);
    }
  }
  return columns.map((field) => field.name);
}

/**
 * Makes the function that writes the rows in the field `name` of a response as CSV (RFC 4180, with a header line),
 * given the whole response as JSON. Numbers are written as in JSON.
 */
export function csvWriter(output: DescMessage, name: string): (response: JsonValue) => Table {
  const columns = columnsOf(output, name);
  return (response) => {
    const { [name]: rows = [], next_cursor: cursor } = response as Record<string, JsonValue>;
    const lines = (rows as Record<string, JsonValue>[]).map((row) => columns.map((column) => cellOf(row[column])).join(","));
    return { text: [columns.join(","), ...lines, ""].join("\r\n"), nextCursor: typeof cursor === "string" ? cursor : "" };
  };
}

/** Whether a client prefers a table: it names the type, and JSON not before it. */
export function wantsCsv(accept: string | undefined): boolean {
  const types = (accept ?? "").split(",").map((type) => type.split(";", 1)[0]?.trim().toLowerCase());
  const [csv, json] = [types.indexOf("text/csv"), types.indexOf("application/json")];
  return csv >= 0 && (json < 0 || csv < json);
}
