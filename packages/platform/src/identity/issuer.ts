/** The `iss` of every token that a Turnwright service signs. */
export const issuer = "turnwright";

/** Seconds by which the clocks of two machines may differ when `exp` and `iat` are checked. */
export const clockToleranceSeconds = 30;
