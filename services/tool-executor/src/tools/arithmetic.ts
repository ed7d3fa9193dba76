const maxLength = 1_000;
const maxDepth = 100;

type Token =
  | { readonly kind: "number"; readonly value: number; readonly at: number }
  | { readonly kind: Mark; readonly at: number };
type Mark = "+" | "-" | "*" | "/" | "(" | ")" | "end";

class ExpressionError extends Error {}

/**
 * The value of an expression of numbers, `+ - * /`, parentheses and unary minus. `{error}` for a syntax error, a
 * division by zero, a result beyond the range of numbers, more than 1,000 characters, or nesting deeper than 100.
 */
export function evaluate(expression: string): number | { error: string } {
  try {
    if (expression.length > maxLength) throw new ExpressionError(`the expression is longer than ${maxLength} characters`);
    const value = new Parser(tokenize(expression)).parse();
    if (!Number.isFinite(value)) throw new ExpressionError("the result is beyond the range of numbers");
    return value;
  } catch (error) {
    if (error instanceof ExpressionError) return { error: error.message };
    throw error;
  }
}

const numberAt = /(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y;
const spaceAt = /\s+/y;

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < text.length) {
    spaceAt.lastIndex = at;
    numberAt.lastIndex = at;
    const space = spaceAt.exec(text)?.[0];
    const number = numberAt.exec(text)?.[0];
    const character = text.charAt(at);
    if (space !== undefined) {
      at += space.length;
    } else if (number !== undefined) {
      tokens.push({ kind: "number", value: Number(number), at });
      at += number.length;
    } else if (isSymbol(character)) {
      tokens.push({ kind: character, at });
      at += 1;
    } else {
      throw new ExpressionError(`unexpected ${JSON.stringify(character)} at position ${at + 1}`);
    }
  }
  tokens.push({ kind: "end", at });
  return tokens;
}

function isSymbol(character: string): character is Exclude<Mark, "end"> {
  return character.length === 1 && "+-*/()".includes(character);
}

/**
 * Recursive descent: sum = product (± product)*, product = factor (×÷ factor)*,
 * factor = number | "(" sum ")" | "-" factor.
 */
class Parser {
  readonly #tokens: readonly Token[];
  #next = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  parse(): number {
    const value = this.#sum();
    this.#expect("end");
    return value;
  }

  #sum(): number {
    let value = this.#product();
    for (;;) {
      if (this.#accept("+")) value += this.#product();
      else if (this.#accept("-")) value -= this.#product();
      else return value;
    }
  }

  #product(): number {
    let value = this.#factor();
    for (;;) {
      if (this.#accept("*")) {
        value *= this.#factor();
      } else if (this.#accept("/")) {
        const divisor = this.#factor();
        if (divisor === 0) throw new ExpressionError("division by zero");
        value /= divisor;
      } else {
        return value;
      }
    }
  }

  #factor(): number {
    this.#depth += 1;
    if (this.#depth > maxDepth) throw new ExpressionError(`the expression is nested deeper than ${maxDepth}`);
    const value = this.#innerFactor();
    this.#depth -= 1;
    return value;
  }

  #innerFactor(): number {
    if (this.#accept("-")) return -this.#factor();
    if (this.#accept("(")) {
      const value = this.#sum();
      this.#expect(")");
      return value;
    }
    const token = this.#tokens[this.#next];
    if (token?.kind !== "number") throw this.#unexpected();
    this.#next += 1;
    return token.value;
  }

  #accept(kind: Mark): boolean {
    if (this.#tokens[this.#next]?.kind !== kind) return false;
    this.#next += 1;
    return true;
  }

  #expect(kind: Mark): void {
    if (!this.#accept(kind)) throw this.#unexpected();
  }

  #unexpected(): ExpressionError {
    const token = this.#tokens[this.#next];
    if (token === undefined || token.kind === "end") return new ExpressionError("the expression ends too early");
    return new ExpressionError(
      `unexpected ${token.kind === "number" ? token.value : `"${token.kind}"`} at position ${token.at + 1}`,
    );
  }
}
