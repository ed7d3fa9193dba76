import type { RunningSystem } from "./all-in-one.ts";

/** The text shown after the start: the address, the stores and the model, and a first conversation to paste. */
export function banner({
  port,
  stores,
  databaseDirectory,
}: Pick<RunningSystem, "port" | "stores" | "databaseDirectory">): string {
  const base = `http://127.0.0.1:${port}`;
  const model =
    stores.model === "demo"
      ? "the built-in DEMO model (set OPENAI_API_KEY or LLM_BASE_URL for a real one)"
      : "the configured OpenAI-compatible endpoint";
  const database =
    stores.database === "embedded"
      ? `embedded PostgreSQL in ${databaseDirectory} (set DATABASE_URL for your own)`
      : "the configured PostgreSQL";
  return `
Turnwright is ready at ${base}

  API docs   ${base}/swagger/index.html
  Model      ${model}
  Database   ${database}
  Limits     ${stores.redis === "memory" ? "in memory (set REDIS_URL for Redis)" : "the configured Redis"}

Try it:

  curl -s ${base}/v1/auth/register -H 'Content-Type: application/json' \\
    -d '{"email":"you@example.com","password":"SecurePass123","name":"You"}'
  TOKEN=$(curl -s ${base}/v1/auth/login -H 'Content-Type: application/json' \\
    -d '{"email":"you@example.com","password":"SecurePass123"}' | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')
  curl -N ${base}/v1/chat/completions -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
    -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"What is 1337 * 42?"}],"stream":true}'

`;
}
