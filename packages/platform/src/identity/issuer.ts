/** The `iss` of every token that a Turnwright service signs. */
export const issuer = "turnwright";

/** Seconds by which the clocks of two machines may differ when the expiry of a user's token is checked. */
export const clockToleranceSeconds = 30;

/**
 * The same for tokens between the parts of a mesh, which no client ever holds: a part whose clock is five minutes off
 * works like any other.
 */
export const meshClockToleranceSeconds = 330;
