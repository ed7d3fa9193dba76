/** A call that waits for its turn. */
export interface WaitingCall {
  readonly user: string;
  readonly model: string;
  /** Bytes that it counts against the bound on the queue. */
  readonly weight: number;
  /** When it began to wait, in milliseconds of `performance.now()`. */
  readonly since: number;
  readonly start: () => void;
  readonly refuse: (cause: "late" | "full") => void;
}

/** The calls of one user that wait, in the order of their arrival. */
interface Line {
  weight: number;
  readonly all: Set<WaitingCall>;
  readonly byModel: Map<string, Set<WaitingCall>>;
}

/** The oldest of a set that is in the order of arrival. */
function oldest(calls: ReadonlySet<WaitingCall>): WaitingCall {
  return calls.values().next().value as WaitingCall;
}

/** The calls that wait for one provider, within a bound on their weight. */
export class WaitingCalls {
  readonly #maxWeight: number;
  readonly #all = new Set<WaitingCall>();
  readonly #lines = new Map<string, Line>();
  #weight = 0;

  constructor(maxWeight: number) {
    this.#maxWeight = maxWeight;
  }

  get size(): number {
    return this.#all.size;
  }

  /** The call that has waited longest. */
  get first(): WaitingCall | undefined {
    return this.#all.size === 0 ? undefined : oldest(this.#all);
  }

  has(user: string): boolean {
    return this.#lines.has(user);
  }

  users(): Iterable<string> {
    return this.#lines.keys();
  }

  /**
   * Adds a call. While the queue is too heavy, the newest call of the user whose calls weigh most is refused, so a user
   * who floods the queue displaces themself.
   */
  add(call: WaitingCall): void {
    const line = this.#lines.get(call.user) ?? { weight: 0, all: new Set(), byModel: new Map() };
    this.#lines.set(call.user, line);
    const sameModel = line.byModel.get(call.model) ?? new Set();
    line.byModel.set(call.model, sameModel);
    for (const calls of [this.#all, line.all, sameModel]) calls.add(call);
    line.weight += call.weight;
    this.#weight += call.weight;
    while (this.#weight > this.#maxWeight) {
      const displaced = this.#heaviest(call);
      this.delete(displaced);
      displaced.refuse("full");
    }
  }

  /** Removes a call; without effect when it waits no more. */
  delete(call: WaitingCall): void {
    if (!this.#all.delete(call)) return;
    const line = this.#lines.get(call.user) as Line;
    const sameModel = line.byModel.get(call.model) as Set<WaitingCall>;
    line.all.delete(call);
    sameModel.delete(call);
    line.weight -= call.weight;
    this.#weight -= call.weight;
    if (sameModel.size === 0) line.byModel.delete(call.model);
    if (line.all.size === 0) this.#lines.delete(call.user);
  }

  /**
   * The call whose turn is next: of the users and models that `mayStart` admits, the user with the fewest calls in
   * progress, and then the call that has waited longest.
   */
  next(inProgress: (user: string) => number, mayStart: (user: string, model: string) => boolean): WaitingCall | undefined {
    let best: WaitingCall | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    for (const [user, { byModel }] of this.#lines) {
      const count = inProgress(user);
      if (count > fewest) continue;
      for (const [model, calls] of byModel) {
        if (!mayStart(user, model)) continue;
        const call = oldest(calls);
        if (best !== undefined && count === fewest && call.since >= best.since) continue;
        best = call;
        fewest = count;
      }
    }
    return best;
  }

  /** The newest call of the user whose calls weigh most; `added` is the newest of all. */
  #heaviest(added: WaitingCall): WaitingCall {
    let user = added.user;
    let most = this.#lines.get(user)?.weight ?? 0;
    for (const [name, { weight }] of this.#lines) if (weight > most) [user, most] = [name, weight];
    if (user === added.user && this.#all.has(added)) return added;
    let newest = added;
    for (const call of (this.#lines.get(user) as Line).all) newest = call;
    return newest;
  }
}
