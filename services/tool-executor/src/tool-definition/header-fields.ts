/** A header's name, and its value: one line of Latin-1. */
export const headerName = /^[\w!#$%&'*+.^`|~-]+$/;
export const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Headers of the connection. A request that sets them could mean one thing to us and another to a proxy. */
export const connectionHeader =
  /^(?:host|connection|keep-alive|content-length|transfer-encoding|te|trailer|upgrade|expect|proxy-.*)$/i;
