import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type User, UserSchema } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { isUniqueViolation, type Queryable } from "@turnwright/platform/postgres";

interface UserRow {
  id: string;
  email: string;
  name: string;
  role: string;
  is_active: boolean;
  created_at: Date;
  updated_at: Date;
}

const userColumns = "id, email, name, role, is_active, created_at, updated_at";

function userOf(row: UserRow): User {
  return create(UserSchema, {
    id: row.id,
    email: row.email,
    name: row.name,
    role: row.role,
    isActive: row.is_active,
    createdAt: timestampFromDate(row.created_at),
    updatedAt: timestampFromDate(row.updated_at),
  });
}

/** Stores an account. Throws EMAIL_TAKEN. */
export async function insertUser(
  db: Queryable,
  user: { id: string; email: string; passwordHash: string; name: string },
): Promise<User> {
  try {
    const { rows } = await db.query<UserRow>(
      `insert into users (id, email, password_hash, name) values ($1, $2, $3, $4) returning ${userColumns}`,
      [user.id, user.email, user.passwordHash, user.name],
    );
    return userOf(rows[0] as UserRow);
  } catch (error) {
    if (isUniqueViolation(error, "users_email_key")) {
      throw fail(ErrorReason.EMAIL_TAKEN, "An account with this email exists.", { param: "email", cause: error });
    }
    throw error;
  }
}

/** An account with its password hash, by address. */
export async function findUserByEmail(db: Queryable, email: string): Promise<{ user: User; passwordHash: string } | undefined> {
  const { rows } = await db.query<UserRow & { password_hash: string }>(
    `select ${userColumns}, password_hash from users where email = $1`,
    [email],
  );
  const row = rows[0];
  return row && { user: userOf(row), passwordHash: row.password_hash };
}

/** An account, by id. */
export async function findUser(db: Queryable, id: string): Promise<User | undefined> {
  const { rows } = await db.query<UserRow>(`select ${userColumns} from users where id = $1`, [id]);
  return rows[0] && userOf(rows[0]);
}
