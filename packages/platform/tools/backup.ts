/**
 * `npm run backup -- <file>` writes the database into a new file, also while Turnwright runs; `npm run restore --
 * <file>` puts such a file into an empty database, with Turnwright stopped. Both take DATABASE_URL or DB_*, else the
 * embedded database of TURNWRIGHT_DATA_DIR. A name that ends in `.gz` is compressed. The file is readable by its owner
 * only: it holds password hashes, signing keys and conversations.
 */
import { createReadStream, createWriteStream, existsSync, renameSync, rmSync } from "node:fs";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import { backUpDatabase, restoreDatabase } from "../src/postgres/backup.ts";
import { withConfiguredDatabase } from "./configured-database.ts";

const usage = `Usage:
  npm run backup -- <file>     writes the database into a new file (.gz: compressed)
  npm run restore -- <file>    puts it into an empty database, with Turnwright stopped`;

async function backUp(file: string): Promise<void> {
  if (existsSync(file)) throw new Error(`${file} exists already: name a new file`);
  await withConfiguredDatabase(
    async (url) => {
      const partial = `${file}.partial`;
      const sql = new PassThrough();
      const stages = file.endsWith(".gz") ? [sql, createGzip({ level: 5 })] : [sql];
      const written = pipeline([...stages, createWriteStream(partial, { mode: 0o600, flags: "wx" })]);
      try {
        const [rows] = await Promise.all([
          backUpDatabase(url, sql).then(
            (count) => {
              sql.end();
              return count;
            },
            (error: Error) => {
              sql.destroy(error);
              throw error;
            },
          ),
          written,
        ]);
        renameSync(partial, file);
        console.log(`${file}: ${rows} rows`);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") rmSync(partial, { force: true });
        throw error;
      }
    },
    { attach: true },
  );
}

async function restore(file: string): Promise<void> {
  await withConfiguredDatabase(async (url, config) => {
    const input = createReadStream(file);
    const sql = file.endsWith(".gz") ? input.pipe(createGunzip()) : input;
    input.on("error", (error) => sql.destroy(error));
    const { header, rows } = await restoreDatabase(url, sql, { rolePrefix: config.DB_ROLE_PREFIX });
    console.log(`${file}: ${rows} rows of ${header.takenAt}; the next start migrates them`);
  });
}

async function main([command, file, ...more]: string[]): Promise<void> {
  if (file === undefined || more.length > 0) throw new Error(usage);
  if (command === "backup") return await backUp(file);
  if (command === "restore") return await restore(file);
  throw new Error(usage);
}

await main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
