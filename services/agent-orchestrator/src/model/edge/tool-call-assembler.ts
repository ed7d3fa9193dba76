import type { CallPiece } from "./call-pieces.ts";
import { type ModelToolCall, nameCalls } from "./chunk.ts";
import { ExtraFields } from "./extra-fields.ts";

/** The most calls of an answer. */
export const maxCalls = 128;
/** The most characters of a name and of arguments that the contract accepts. */
const maxName = 100;
const maxArguments = 262_144;
/** How often a call's arguments are read to find out whether they are whole. */
const maxReadings = 16;

const ownFields = new Set(["custom", "function", "id", "index", "type"]);

/** A call that is being assembled. */
class OpenCall {
  /** The endpoint's id; empty: none. */
  toldId: string;
  /** Its id here; empty until it is needed. */
  id: string;
  name = "";
  arguments = "";
  readonly toldIndex: number | undefined;
  /** Its place among the calls. */
  readonly slot: number;
  /** The chunk in which it began, and its place there. */
  readonly chunk: number;
  readonly position: number;
  readonly fields = new ExtraFields(ownFields);
  #isLong = false;
  /** Told without a look at the arguments, which are joined only when they are read. */
  #endsInBrace = false;
  #readings = 0;

  constructor(piece: CallPiece, id: string, slot: number, chunk: number, position: number) {
    this.toldId = piece.id;
    this.id = id;
    this.toldIndex = piece.index;
    this.slot = slot;
    this.chunk = chunk;
    this.position = position;
  }

  /** Whether the arguments are a whole object, after which nothing can follow. */
  get isWhole(): boolean {
    if (!this.#endsInBrace || this.#readings >= maxReadings) return false;
    this.#readings += 1;
    try {
      JSON.parse(this.arguments);
      return true;
    } catch {
      return false;
    }
  }

  get problem(): string | undefined {
    if (this.name === "") return "The call names no tool.";
    if (this.name.length > maxName) return `The call's tool name is longer than ${maxName} characters.`;
    return this.#isLong ? `The call's arguments are longer than ${maxArguments} characters.` : undefined;
  }

  /** Adds a piece. Returns what it adds to the name and to the arguments. */
  add(piece: CallPiece): { name: string; arguments: string } {
    const name = piece.name === this.name ? "" : piece.name;
    if (this.name.length <= maxName) this.name = (this.name + name).slice(0, maxName + 1);
    this.fields.add(piece.fields);
    let added = piece.arguments;
    if (isEqual("{}", this.arguments) && added.startsWith("{")) this.arguments = "";
    const room = maxArguments - this.arguments.length;
    if (added.length > room) {
      this.#isLong = true;
      added = added.slice(0, Math.max(0, room));
    }
    this.arguments += added;
    if (added !== "") this.#endsInBrace = added.endsWith("}");
    return { name, arguments: piece.arguments };
  }
}

/** A piece with its call, in the format of a client. */
export interface PlacedPiece {
  readonly index: number;
  /** Set on the first piece of a call. */
  readonly id?: string;
  readonly name: string;
  readonly arguments: string;
  readonly fields: Readonly<Record<string, unknown>>;
  /** A client reads the piece rightly as the endpoint sent it. */
  readonly isPlain: boolean;
}

/**
 * Assembles tool calls from their pieces. A call is known by its id, then by its index, then by its place in the list
 * of a chunk. Endpoints leave each of them out, repeat them, or send the same index for every call: a piece that names
 * a tool and begins arguments after whole ones begins another call.
 */
export class ToolCallAssembler {
  readonly #calls: OpenCall[] = [];
  readonly #byId = new Map<string, OpenCall>();
  readonly #byIndex = new Map<number, OpenCall>();
  readonly #byPosition: OpenCall[] = [];
  #chunk = 0;
  #refused = 0;

  /** Whether no call has begun. */
  get isEmpty(): boolean {
    return this.#calls.length === 0;
  }

  /** Whether the arguments of every call are a whole object, or absent. */
  get isWhole(): boolean {
    return this.#calls.every((call) => call.arguments.trim() === "" || call.isWhole);
  }

  /** Adds the pieces of one chunk. Returns each with its call; pieces of calls beyond the limit are left out. */
  add(pieces: readonly CallPiece[]): PlacedPiece[] {
    this.#chunk += 1;
    const placed: PlacedPiece[] = [];
    for (const [position, piece] of pieces.entries()) {
      const known = this.#find(piece, position);
      if (known !== undefined && isResent(known, piece)) continue;
      const call = known === undefined || isRepeated(known, piece) ? this.#open(piece, position) : known;
      if (call === undefined) continue;
      if (piece.index !== undefined) this.#byIndex.set(piece.index, call);
      this.#byPosition[position] = call;
      if (piece.id !== "") this.#name(call, piece.id);
      const isNew = call.chunk === this.#chunk && call.position === position;
      const added = call.add(piece);
      const isPlain = piece.isPlain && piece.index === call.slot && added.name === piece.name && (!isNew || piece.id !== "");
      placed.push({ index: call.slot, id: isNew ? this.#idOf(call) : undefined, ...added, fields: piece.fields, isPlain });
    }
    return placed;
  }

  /** The calls so far, by their places. A missing id is made up once. */
  get calls(): ModelToolCall[] {
    const tooMany = this.#refused > 0 ? `The answer has more than ${maxCalls} calls: none of them was run.` : undefined;
    return this.#sorted().map((call) => {
      const problem = tooMany ?? call.problem;
      const called = { name: call.name, arguments: call.arguments.trim() === "" ? "{}" : call.arguments };
      return { id: this.#idOf(call), type: "function", function: called, ...(problem === undefined ? {} : { problem }) };
    });
  }

  /** The extra fields of each call, in the order of `calls`. */
  get fields(): (Record<string, unknown> | undefined)[] {
    return this.#sorted().map((call) => call.fields.value);
  }

  #sorted(): OpenCall[] {
    return [...this.#calls].sort((a, b) => a.slot - b.slot);
  }

  #name(call: OpenCall, id: string): void {
    if (call.toldId === "") call.toldId = id;
    if (call.id === "" && !this.#byId.has(id)) call.id = id;
    this.#byId.set(id, call);
  }

  #idOf(call: OpenCall): string {
    nameCalls([call]);
    return call.id;
  }

  #open(piece: CallPiece, position: number): OpenCall | undefined {
    if (this.#calls.length >= maxCalls) {
      this.#refused += 1;
      return undefined;
    }
    const slots = new Set(this.#calls.map(({ slot }) => slot));
    const isFree = piece.index !== undefined && !slots.has(piece.index);
    const slot = isFree ? (piece.index as number) : Math.max(-1, ...slots) + 1;
    const call = new OpenCall(piece, this.#byId.has(piece.id) ? "" : piece.id, slot, this.#chunk, position);
    this.#calls.push(call);
    return call;
  }

  /** The call that a piece continues, unless it turns out to begin another one; undefined: it begins one. */
  #find(piece: CallPiece, position: number): OpenCall | undefined {
    const { id, index, name } = piece;
    const placed = index === undefined ? this.#byPosition[position] : this.#byIndex.get(index);
    if (id === "") {
      if (placed !== undefined) return isOther(placed, piece) ? undefined : placed;
      return index === undefined && name === "" ? this.#calls.at(-1) : undefined;
    }
    const named = this.#byId.get(id);
    if (named !== undefined) {
      const isElsewhere = index === undefined ? this.#isElsewhere(named, position) : index !== (named.toldIndex ?? index);
      return isElsewhere ? (placed?.toldId === id ? placed : undefined) : named;
    }
    // An id that comes late, or one that changes from piece to piece.
    const isLate = placed !== undefined && (placed.toldId === "" || (name === "" && (piece.arguments === "" || !placed.isWhole)));
    return isLate ? placed : undefined;
  }

  /** Whether a call began at another place of the same list. */
  #isElsewhere(call: OpenCall, position: number): boolean {
    return call.chunk === this.#chunk && call.position !== position;
  }
}

/** Whether a piece begins arguments after those of its call are whole, so that it is another call. */
function isRepeated(call: OpenCall, piece: CallPiece): boolean {
  if (piece.name === "" || !piece.arguments.startsWith("{")) return false;
  // Some endpoints begin with an empty object and send the arguments after it.
  return isEqual("{}", call.arguments) ? piece.name !== call.name : call.isWhole;
}

/** Whether a piece is the whole of a call that is known: some endpoints end a stream with it. */
function isResent(call: OpenCall, piece: CallPiece): boolean {
  const isSame = piece.id !== "" && piece.id === call.toldId && piece.name === call.name;
  return isSame && piece.arguments !== "" && isEqual(piece.arguments, call.arguments) && call.isWhole;
}

/** Whether a piece without an id or an index names another tool than the call at its place. */
function isOther(call: OpenCall, piece: CallPiece): boolean {
  return piece.index === undefined && piece.name !== "" && piece.name !== call.name && call.arguments !== "";
}

/** Whether texts are equal, without a look at those whose lengths differ: the second one may be in pieces. */
function isEqual(a: string, b: string): boolean {
  return a.length === b.length && a === b;
}
