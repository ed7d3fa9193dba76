/** An attribute of an entity in an `erDiagram`. */
export interface Attribute {
  readonly type: string;
  readonly name: string;
  /** `PK`, `FK`. */
  readonly keys: readonly string[];
}

/** An `erDiagram`. */
export interface EntityDiagram {
  readonly entities: ReadonlyMap<string, readonly Attribute[]>;
  /** `solid`: a relation of `--`, from the one to the many. */
  readonly relations: readonly { readonly one: string; readonly many: string; readonly solid: boolean }[];
}

/** The bodies of a document's Mermaid diagrams of one kind. Each begins after the line with the kind. */
export function mermaid(markdown: string, kind: string): string[] {
  return [...markdown.matchAll(/^```mermaid\n(\S+)\n([\s\S]*?)^```$/gm)].flatMap(([, found, body = ""]) =>
    found === kind ? [body] : [],
  );
}

/** Reads the body of an `erDiagram`. Throws on a line that it cannot read. */
export function readEntities(body: string): EntityDiagram {
  const entities = new Map<string, Attribute[]>();
  const relations: { one: string; many: string; solid: boolean }[] = [];
  let open: Attribute[] | undefined;
  for (const line of body.split("\n").filter((text) => text.trim() !== "")) {
    const entity = /^ {2}(\w+) \{$/.exec(line);
    const attribute = /^ {4}(\S+) (\w+)(?: ([A-Z, ]+))?$/.exec(line);
    const relation = /^ {2}(\w+) \|[|o](--|\.\.)o\{ (\w+) : ".+"$/.exec(line);
    if (entity !== null) {
      open = [];
      entities.set(entity[1] ?? "", open);
    } else if (line === "  }") open = undefined;
    else if (attribute !== null && open !== undefined) {
      open.push({ type: attribute[1] ?? "", name: attribute[2] ?? "", keys: attribute[3]?.split(", ") ?? [] });
    } else if (relation !== null) {
      relations.push({ one: relation[1] ?? "", many: relation[3] ?? "", solid: relation[2] === "--" });
    } else throw new Error(`not a line of an erDiagram: ${line}`);
  }
  return { entities, relations };
}

/** A transition of a `stateDiagram-v2`; `[*]` is the beginning or the end. */
export interface Transition {
  readonly from: string;
  readonly to: string;
  readonly label: string;
}

/** Reads the body of a `stateDiagram-v2` that has transitions only. Throws on any other line. */
export function readTransitions(body: string): Transition[] {
  return body
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [, from, to, label = ""] = /^ {2}(\[\*\]|\w+) --> (\[\*\]|\w+)(?: : (.+))?$/.exec(line) ?? [];
      if (from === undefined || to === undefined) throw new Error(`not a transition: ${line}`);
      return { from, to, label };
    });
}
